"""The GPUs of this machine, as NVIDIA's management library (NVML) tells of them.

Without its Python bindings `nvidia-smi` is asked, which comes with the driver; without a driver
there are none. What a card does not tell (MIG, vGPU and old ones keep some of it) is None.
"""

import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

try:
    import pynvml
except ImportError:  # a machine without GPUs may do without
    pynvml = None

log = logging.getLogger(__name__)

ASKED_OF_SMI = (
    "index,uuid,name,memory.total,memory.used,utilization.gpu,temperature.gpu,power.draw,"
    "driver_version"
)


@dataclass(frozen=True, slots=True)
class Card:
    """A GPU now. `index` counts in the order of the PCI bus, as nvidia-smi does."""

    index: int
    uuid: str
    name: str
    memory_bytes: int | None = None
    memory_used_bytes: int | None = None
    percent: float | None = None  # of the last moment in which it worked at something
    celsius: float | None = None
    watts: float | None = None
    driver: str = ""

    @property
    def id(self) -> str:
        """What CUDA_VISIBLE_DEVICES calls it, in whichever order CUDA counts."""
        return self.uuid or str(self.index)

    def facts(self) -> dict[str, Any]:
        """What does not change."""
        return {
            "index": self.index,
            "id": self.id,
            "name": self.name,
            "memory_bytes": self.memory_bytes,
            "driver": self.driver,
        }

    def load(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "memory_used_bytes": self.memory_used_bytes,
            "percent": self.percent,
            "celsius": self.celsius,
            "watts": self.watts,
        }


def read() -> list[Card]:
    """The cards that this process may use."""
    cards = _of_nvml()
    return visible(_of_smi() if cards is None else cards)


def visible(cards: Sequence[Card], allowed: str | None = None) -> list[Card]:
    """Those that CUDA_VISIBLE_DEVICES leaves: numbers in the order of the PCI bus, or beginnings of
    ids. As for CUDA, what follows a word that is no card does not count."""
    if allowed is None:
        allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return list(cards)
    found: list[Card] = []
    for word in (part.strip() for part in allowed.split(",")):
        fits = [
            card
            for card in cards
            if (word.isdigit() and card.index == int(word))
            or (word[:4] in ("GPU-", "MIG-") and card.uuid.startswith(word))
        ]
        if len(fits) != 1 or fits[0] in found:
            break
        found += fits
    return found


# -- NVML ------------------------------------------------------------------------------------------

_one_at_a_time = threading.Lock()
_opened = False


def _of_nvml() -> list[Card] | None:
    """None where NVML cannot be asked."""
    with _one_at_a_time:
        if not _open():
            return None
        try:
            driver = _text(pynvml.nvmlSystemGetDriverVersion())
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as error:
            log.warning("NVML does not answer: %s", error)
            return None
        cards = [_card(index, driver) for index in range(count)]
    return [card for card in cards if card is not None]


def _open() -> bool:
    """Once it is open it stays so; a machine whose driver is still loading is asked again."""
    global _opened
    if pynvml is None:
        return False
    if not _opened:
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError:
            return False
        _opened = True
    return True


def _card(index: int, driver: str) -> Card | None:
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    except pynvml.NVMLError:  # one that fell off the bus takes nothing more
        return None
    memory = _told(pynvml.nvmlDeviceGetMemoryInfo, handle)
    rates = _told(pynvml.nvmlDeviceGetUtilizationRates, handle)
    watts = _told(pynvml.nvmlDeviceGetPowerUsage, handle)
    celsius = _told(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU)
    return Card(
        index=index,
        uuid=_text(_told(pynvml.nvmlDeviceGetUUID, handle) or ""),
        name=_text(_told(pynvml.nvmlDeviceGetName, handle) or "GPU"),
        memory_bytes=int(memory.total) if memory is not None else None,
        memory_used_bytes=int(memory.used) if memory is not None else None,
        percent=float(rates.gpu) if rates is not None else None,
        celsius=float(celsius) if celsius is not None else None,
        watts=watts / 1000.0 if watts is not None else None,
        driver=driver,
    )


def _told(ask: Callable[..., Any], *what: Any) -> Any:
    try:
        return ask(*what)
    except pynvml.NVMLError:
        return None


def _text(told: str | bytes) -> str:
    return told.decode("utf-8", "replace") if isinstance(told, bytes) else told


# -- nvidia-smi ------------------------------------------------------------------------------------


def _of_smi() -> list[Card]:
    command = shutil.which("nvidia-smi")
    if command is None:
        return []
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command found on the PATH
            [command, f"--query-gpu={ASKED_OF_SMI}", "--format=csv,noheader,nounits"],
            capture_output=True,
            check=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return cards_of_smi(answer.stdout)


def cards_of_smi(text: str) -> list[Card]:
    """The cards in what `nvidia-smi` printed; lines that are none are passed over."""
    found = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != len(ASKED_OF_SMI.split(",")) or not parts[0].isdigit():
            continue
        total, used, percent, celsius, watts = map(_number, parts[3:8])
        found.append(
            Card(
                index=int(parts[0]),
                uuid=parts[1],
                name=parts[2],
                memory_bytes=int(total) << 20 if total is not None else None,
                memory_used_bytes=int(used) << 20 if used is not None else None,
                percent=percent,
                celsius=celsius,
                watts=watts,
                driver=parts[8],
            )
        )
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:  # [N/A], [Not Supported]
        return None
