"""What work costs in energy, and how that is known.

Read where the machine tells: RAPL (Linux' /sys/class/powercap, the whole processor package, other
programs' work included) and a GPU's own power. Elsewhere it is an estimate, and is named one: the
CPU seconds of this process times watts of a core.
"""

import time
from pathlib import Path

import torch

from training.engine.powercap import POWERCAP, WATT_HOUR, Packages

__all__ = ["POWERCAP", "WATT_HOUR", "Meter"]


class Meter:
    """Joules since it was made, and those counted before."""

    def __init__(
        self,
        device: torch.device,
        watts_per_core: float,
        processes: int = 1,
        powercap: Path = POWERCAP,
    ) -> None:
        """`processes` work alike, of which this is one."""
        self.processes = processes
        self.watts_per_core = watts_per_core
        self.device = device
        self._packages = Packages(powercap)
        self._gpu = _watts(device)
        self._gpu_joules = 0.0
        self._cpu = time.process_time()
        self._at = time.monotonic()
        self._before = 0.0

    @property
    def source(self) -> str:
        """How the joules are known, in words for a person."""
        cpu = (
            "measured by RAPL (the whole processor)"
            if self._packages
            else f"estimated: CPU time x {self.watts_per_core:g} W a core"
        )
        if self.device.type != "cuda":
            return cpu
        return cpu + (", GPU's power read" if self._gpu is not None else ", GPU not counted")

    def spent_before(self, joules: float) -> None:
        """Count what earlier attempts of this job took, too."""
        self._before += joules

    def joules(self) -> float:
        """So far. A package's counter starts again from 0 after some hours of work at most, so this
        is to be asked now and then; a GPU's power is taken to be the mean of two askings."""
        if self._packages:
            used = self._packages.joules()
        else:
            used = (time.process_time() - self._cpu) * self.watts_per_core * self.processes
        if self._gpu is not None:
            now, watts = time.monotonic(), _watts(self.device)
            if watts is not None:
                self._gpu_joules += (now - self._at) * (watts + self._gpu) / 2 * self.processes
                self._gpu = watts
            self._at = now
        return self._before + used + self._gpu_joules


def _watts(device: torch.device) -> float | None:
    """A GPU's power now; None where it does not tell (its NVML bindings may be missing)."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.power_draw(device) / 1000.0
    except Exception:  # bindings, driver and card each raise their own kind
        return None
