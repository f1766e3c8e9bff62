"""What this machine is, and how busy: without torch, which costs a process 190 MB."""

import contextlib
import fcntl
import os
import platform
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from distillhub.lib import storage

GPU_FACTS = "index,name,memory.total,memory.used,utilization.gpu,driver_version"


def facts() -> dict[str, Any]:
    """What does not change while a worker runs."""
    return {
        "cpus": os.cpu_count() or 1,
        "cpu": _cpu_name(),
        "memory_bytes": psutil.virtual_memory().total,
        "disk_bytes": psutil.disk_usage(str(home())).total,
        "platform": platform.platform(terse=True),
        "gpus": [
            {name: gpu[name] for name in ("index", "name", "memory_bytes", "driver")}
            for gpu in gpus()
        ],
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
        "gpus": [
            {name: gpu[name] for name in ("index", "memory_used_bytes", "percent")}
            for gpu in gpus()
        ],
    }


def gpus() -> list[dict[str, Any]]:
    """NVIDIA's cards, where its driver and `nvidia-smi` are installed."""
    command = _nvidia_smi()
    if command is None:
        return []
    try:
        answer = subprocess.run(  # noqa: S603 - a fixed command found on the PATH
            [command, f"--query-gpu={GPU_FACTS}", "--format=csv,noheader,nounits"],
            capture_output=True,
            check=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    found = []
    for line in answer.stdout.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) != 6 or not parts[0].isdigit():
            continue
        found.append(
            {
                "index": int(parts[0]),
                "name": parts[1],
                "memory_bytes": _mebibytes(parts[2]),
                "memory_used_bytes": _mebibytes(parts[3]),
                "percent": float(parts[4]) if parts[4].isdigit() else None,
                "driver": parts[5],
            }
        )
    return found


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


@cache
def _nvidia_smi() -> str | None:
    return shutil.which("nvidia-smi")


def _mebibytes(number: str) -> int | None:
    return int(number) << 20 if number.isdigit() else None


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
