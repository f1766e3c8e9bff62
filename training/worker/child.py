"""The training process: started with a clean environment, found again after a crash, ended."""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from django.conf import settings

from training.engine import journal
from training.worker import folders

log = logging.getLogger(__name__)

PATIENCE = 30.0  # seconds between the request to leave and the kill
SAYING = 5.0  # seconds for which one that hangs may print where it stands
DYING = 30.0  # seconds; what waits for a disk that does not answer dies when it does

#: All that a training process is told of this machine: no key, password or address is among them.
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")


def environment(threads: int) -> dict[str, str]:
    """The child's environment. Memory that was freed is kept: returning it to the kernel and
    faulting it in again is what a small model's step spends up to half its time on."""
    passed = {name: os.environ[name] for name in PASSED if name in os.environ}
    return passed | {
        "PYTHONPATH": str(settings.BASE_DIR),
        "DISTILLHUB_PARENT_PID": str(os.getpid()),
        "PYTHONUNBUFFERED": "1",
        "PYTHONFAULTHANDLER": "1",
        "PYTHONHASHSEED": "0",
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
        "MALLOC_TOP_PAD_": str(64 << 20),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


@dataclass(slots=True)
class Child:
    process: subprocess.Popen[bytes]
    console: Path
    peak_bytes: int = 0
    asked_at: float | None = None
    killed_by_us: bool = False
    hung: str = ""  # how, once it was ended because of it

    @property
    def pid(self) -> int:
        return self.process.pid

    def poll(self) -> int | None:
        """The exit status once it is over: negative for a signal."""
        status = self.process.poll()
        if status is None:
            self._note_memory()
        return status

    def leave(self) -> None:
        """Ask it to checkpoint and leave; after half a minute, and when asked again, kill it."""
        if self.asked_at is None:
            self.asked_at = time.monotonic()
            self._signal(signal.SIGTERM)
        elif time.monotonic() - self.asked_at > PATIENCE:
            self.kill()

    def kill(self) -> None:
        """End it and everything it started, at once."""
        self.killed_by_us = True
        self._signal(signal.SIGKILL)
        try:
            self.process.wait(timeout=DYING)
        except subprocess.TimeoutExpired:
            log.warning("Process %s does not die: the kernel waits for a disk.", self.pid)

    def end_hung(self, how: str) -> None:
        """It hangs: have its processes print where they stand, and end it."""
        self.hung = how
        self._print(f"It hangs: {how}. Where each of its threads stands:")
        size = self._printed()
        for one in _family(self.pid):
            if _listens(one.pid, journal.SAY_WHERE):
                with suppress(psutil.Error):
                    one.send_signal(journal.SAY_WHERE)
        until, before = time.monotonic() + SAYING, 0
        while time.monotonic() < until and (before <= size or before < self._printed()):
            before = self._printed()
            time.sleep(0.2)
        if before <= size:
            self._print("It does not say: it is frozen, or waits inside the kernel.")
        self.kill()

    def said_last(self, lines: int = 200) -> str:
        """The end of what it printed."""
        with self.console.open("rb") as file:
            file.seek(max(0, self.console.stat().st_size - 64_000))
            text = file.read().decode("utf-8", "replace")
        return "\n".join(text.splitlines()[-lines:])

    def _print(self, sentence: str) -> None:
        with suppress(OSError), self.console.open("a") as file:
            file.write(f"\n{sentence}\n")

    def _printed(self) -> int:
        return self.console.stat().st_size

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.process.pid, number)
        except ProcessLookupError:
            return

    def _note_memory(self) -> None:
        try:
            used = psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return
        self.peak_bytes = max(self.peak_bytes, used)


def spawn(
    folder: Path,
    *,
    verb: str,
    name: str,
    threads: int = 1,
    processes: int = 1,
    extra: Mapping[str, str] | None = None,
    module: str = "training.engine",
    memory_mib: int | None = None,
) -> Child:
    """Start `python -m training.engine VERB FOLDER` in a process group of its own; several
    processes, one for each GPU, under torch's launcher, which Accelerate's stands on too. Another
    `module` takes the same arguments; `memory_mib` in place of what a run may take.

    What it prints goes to `console-NAME.log` in the folder.
    """
    end_orphan(folder)
    console = folder / f"console-{name}.log"
    console.write_bytes(b"")
    guard = Path(__file__).with_name("guard.py")
    most = settings.DISTILLHUB_RUN_MEMORY_MIB if memory_mib is None else memory_mib
    memory = most << 20
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    python = [sys.executable, "-P", *(launcher if processes > 1 else [])]
    engine = [*python, "-m", module, verb, str(folder)]
    with console.open("ab") as out:  # a reader may cut it off at its beginning
        process = subprocess.Popen(  # noqa: S603 - our own command; no part of it is user input
            [sys.executable, "-I", "-S", str(guard), str(os.getpid()), str(memory), "--", *engine],
            cwd=folder,
            env=environment(threads) | dict(extra or {}),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    folders.write_json(
        folder / "child.json", {"pid": process.pid, "started": _started(process.pid)}
    )
    return Child(process, console)


def end_orphan(folder: Path) -> bool:
    """Kill the process that a dead worker left in this folder; True when there was one.

    A process is known by its pid together with its start time: a pid alone may by now belong to
    somebody else.
    """
    noted = folders.read_json(folder / "child.json")
    if not isinstance(noted, dict):
        return False
    try:
        process = psutil.Process(noted["pid"])
        if abs(process.create_time() - noted["started"]) > 1 or process.status() == "zombie":
            return False
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
    except (psutil.Error, ProcessLookupError, KeyError, TypeError):
        return False
    return True


def _family(pid: int) -> list[psutil.Process]:
    """A process and all that it started."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.Error:
        return []


def _listens(pid: int, number: int) -> bool:
    """Whether a process does something of its own at a signal, and does not end by it: launchers
    and helpers do. Only Linux tells."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = next((line.split()[1] for line in lines if line.startswith("SigCgt:")), "0")
    return bool(int(caught, 16) >> (number - 1) & 1)


def _started(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0
