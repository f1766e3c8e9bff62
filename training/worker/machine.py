"""What this machine is, and how busy: without torch, which costs a process 190 MB."""

import contextlib
import fcntl
import os
import platform
import socket
import uuid
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from distillhub.lib import storage
from training.worker import gpus


def facts() -> dict[str, Any]:
    """What does not change while a worker runs."""
    return {
        "cpus": os.cpu_count() or 1,
        "cpu": _cpu_name(),
        "memory_bytes": psutil.virtual_memory().total,
        "disk_bytes": psutil.disk_usage(str(home())).total,
        "platform": platform.platform(terse=True),
        "gpus": [card.facts() for card in gpus.read()],
        "versions": {"python": platform.python_version()}
        | {name: _version(name) for name in ("distillhub", "torch", "transformers")},
    }


def load() -> dict[str, Any]:
    """How busy the machine is now; CPU since the last call."""
    memory = psutil.virtual_memory()
    return {
        "cpu_percent": psutil.cpu_percent(),
        "memory_percent": memory.percent,
        "memory_free_bytes": memory.available,
        "disk_free_bytes": psutil.disk_usage(str(home())).free,
        "gpus": [card.load() for card in gpus.read()],
    }


def home() -> Path:
    """The folder of the job folders."""
    return storage.working_folder("jobs")


def home_id() -> str:
    """Names the folder of the job folders, whichever machine or container it is mounted in."""
    file = home() / ".id"
    try:
        return str(uuid.UUID(file.read_text().strip()))
    except (FileNotFoundError, ValueError):
        part = file.with_name(f".id-{os.getpid()}-{uuid.uuid4().hex}")
        part.write_text(str(uuid.uuid4()))
        try:
            os.link(part, file)  # of two workers starting at once, the first one names it
        except FileExistsError:
            pass
        finally:
            part.unlink()
        return str(uuid.UUID(file.read_text().strip()))


@contextlib.contextmanager
def alone(place: Path) -> Iterator[bool]:
    """Whether no other process or thread of this machine is at it: a folder, or a file called
    `….lock` that is made for this. The kernel frees the lock of one that died.

    Raises FileNotFoundError when there is no such folder.
    """
    made = os.O_RDWR | os.O_CREAT if place.suffix == ".lock" else os.O_RDONLY
    handle = os.open(place, made, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(handle)


def host() -> str:
    return socket.gethostname()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:  # noqa: PTH123
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor()
