"""One job folder, one process: reads `config.json`, writes the journal, and leaves.

The parent (a worker) tails the journal. This process dies with its parent, checkpoints and leaves
on SIGTERM, prints on SIGUSR1 where its threads stand, and turns whatever goes wrong into one
`failed` line with a sentence for a person. It ends with `os._exit` after the last flush: tearing an
interpreter with torch down takes seconds.

The parent sets MALLOC_MMAP_MAX_=0, MALLOC_TRIM_THRESHOLD_ and MALLOC_TOP_PAD_ in the environment:
glibc then keeps freed memory, which makes convnets 1.6 times as fast on a CPU.
"""

import contextlib
import ctypes
import errno
import faulthandler
import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from training.engine import job_config
from training.engine import journal as journals
from training.engine.errors import ConfigError, EngineError, Fault, Stopped
from training.engine.events import Event, Failed, Halted, Logged, Measured, Resumed
from training.engine.journal import Journal

PR_SET_PDEATHSIG = 1


class Asked:
    """Whether the job was asked to leave (SIGTERM or SIGINT)."""

    def __init__(self) -> None:
        self.to_stop = False

    def __call__(self) -> bool:
        return self.to_stop

    def listen(self) -> None:
        signal.signal(signal.SIGTERM, self._hear)
        signal.signal(signal.SIGINT, self._hear)

    def _hear(self, number: int, frame: object) -> None:
        self.to_stop = True


def run(folder: Path) -> NoReturn:
    """Train as the folder says, and end the process."""
    die_with_parent()
    faulthandler.enable()
    faulthandler.register(journals.SAY_WHERE)
    asked = Asked()
    asked.listen()
    if int(os.environ.get("RANK", "0")):
        leave(_follow(folder, asked))
    with Journal(folder / "journal.jsonl") as journal:
        status = _run(folder, journal, asked)
    leave(status)


def _follow(folder: Path, asked: Asked) -> int:
    """A process beside the first of a run: it trains along, and only the first one tells."""
    resuming = (folder / "checkpoints").is_dir()
    try:
        for _ in events(folder, asked, resuming=resuming):
            pass
    except Stopped:
        return 0
    except BaseException as error:  # the launcher then ends the others
        sys.stderr.write(explain(error).trace)
        return 1
    return 0


def _run(folder: Path, journal: Journal, asked: Asked) -> int:
    try:
        for event in _once(events(folder, asked, resuming=journal.seq > 0), journal.path):
            journal.write(event)
    except Stopped as stopped:
        journal.write(Halted(stopped.step))
    except BaseException as error:  # whatever it is, the journal must say so
        failed = explain(error)
        try:
            journal.write(failed)
        except OSError:  # the disk has no room for this line either, nor perhaps for the console
            with contextlib.suppress(OSError):
                sys.stderr.write(failed.trace)
            return journals.NO_ROOM
        return 1
    return 0


def events(folder: Path, asked: Asked, *, resuming: bool) -> Iterator[Event]:
    """What the job tells, from the folder's configuration."""
    raw = read_config(folder)
    threads = str(max(1, int(raw.get("threads") or 1)))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads  # before torch is imported
    if resuming and _finished(folder):
        yield Logged("The job was finished already; nothing is done again.")
        return
    from training.engine import loop, methods  # noqa: PLC0415 - torch, after the threads are set

    config = job_config.parse_job(raw, methods.describe())
    yield from loop.distill(config, folder, resuming=resuming, asked_to_stop=asked)


def read_config(folder: Path) -> dict[str, Any]:
    """The folder's `config.json`. Raises ConfigError."""
    try:
        raw = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError([Fault("", f"The job's config.json cannot be read: {error}")]) from error
    if not isinstance(raw, dict):
        raise ConfigError([Fault("", "The job's config.json must hold an object.")])
    return raw


def _finished(folder: Path) -> bool:
    last = None
    for line in journals.read(folder / "journal.jsonl"):
        last = line["type"]
    return last == "finished"


def _once(told: Iterator[Event], path: Path) -> Iterator[Event]:
    """A resumed job repeats what belongs to the step it resumes at (a teacher's score, the test's
    score): values that the journal has for that very step are not told again."""
    known: set[tuple[int, str]] = set()
    for event in told:
        if isinstance(event, Resumed):
            known = {
                (line["step"], name)
                for line in journals.read(path)
                if line["type"] == "measured" and line["step"] <= event.step
                for name in line["values"]
            }
        if isinstance(event, Measured) and known:
            values = {
                name: value
                for name, value in event.values.items()
                if (event.step, name) not in known
            }
            if values:
                yield Measured(event.step, event.epoch, values)
            continue
        yield event


def explain(error: BaseException) -> Failed:
    """The `failed` line of an exception: a code, a sentence that says what to do, and the trace."""
    trace = "".join(traceback.format_exception(error))[-20_000:]
    if isinstance(error, ConfigError):
        return Failed(error.code, f"The configuration cannot be used. {error}", trace)
    if isinstance(error, EngineError):
        return Failed(error.code, str(error), trace)
    if out_of_memory(error):
        return Failed(
            "out_of_memory",
            "The machine ran out of memory. Halve the batch size (and double the gradient "
            "accumulation, which keeps the training the same), or take a smaller model.",
            trace,
        )
    if disk_full(error):
        return Failed("disk_full", "The disk is full. Free some space, then retry the run.", trace)
    said = str(error).strip().splitlines()
    reason = f"{type(error).__name__}: {said[0]}" if said else type(error).__name__
    return Failed("crashed", f"The engine met an error that it does not know: {reason}", trace)


def out_of_memory(error: BaseException) -> bool:
    """Python's, CUDA's, and the allocator of torch's CPU tensors, which raises RuntimeError."""
    if isinstance(error, MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in text or "not enough memory" in text or "can't allocate memory" in text
    )


def disk_full(error: BaseException) -> bool:
    """Also a quota or a limit of this process, and as safetensors and torch tell it: the latter's
    writer gives no reason, and nothing but a full disk stops it."""
    numbers = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    if isinstance(error, OSError) and error.errno in numbers:
        return True
    text = str(error)
    told = ("inline_container", *(f"(os error {number})" for number in numbers))
    return "No space left" in text or any(one in text for one in told)


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent ends; a parent that is gone already
    means init has adopted it. Linux only; elsewhere the parent's own care must do."""
    if sys.platform != "linux":
        return
    parent = os.environ.get("DISTILLHUB_PARENT_PID")
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    launched = "RANK" in os.environ  # the launcher stands between: it is the worker's child
    if parent and not launched and os.getppid() != int(parent):
        os._exit(1)


def leave(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)
