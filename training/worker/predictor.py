"""The predictor of this machine: one child process of the engine that keeps models warm and answers
what web processes ask it (training/engine/serving.py). Whoever asks first starts it.

It belongs to nobody in particular: it lives as long as a process of this machine is connected to
it, and a lock in its folder lets one live. When it dies, whoever asked asks once more, of a new
one. No broker and no database is asked here.
"""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from django.conf import settings

from distillhub.lib import storage
from distillhub.lib.errors import Conflict, DomainError, Unavailable
from training.engine import frames
from training.worker import child, folders, machine

JSON = dict[str, Any]
KEPT = 8  # connections of this process that wait for the next request
STARTING = 30.0  # seconds for which a new one may take to listen
TRIES = 2  # predictors that may die with one request


class Busy(Unavailable):
    """More is asked than it can answer."""

    code, retry_after = "busy", 1


class TookTooLong(DomainError):
    status, code = 504, "timed_out"


class Died(Unavailable):
    """It ended while it answered, more than once."""

    code, retry_after = "predictor_died", 5


class Unusable(Conflict):
    """The model cannot be loaded, or does not answer this."""

    code = "bad_model"


@dataclass(frozen=True, slots=True)
class Shipped:
    """An export that answers in its version's place."""

    name: str
    format: str
    files: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Model:
    """A model version as the predictor knows it; `files` as ModelVersion.files."""

    name: str
    task: str
    files: tuple[Mapping[str, Any], ...]
    export: Shipped | None = None

    @property
    def key(self) -> str:
        """Equal for equal files: two versions of one content share their place."""
        said = [self.task, *(f"{one['name']} {one['sha256']}" for one in self.files)]
        if self.export is not None:
            said += [self.export.format, *(str(one["sha256"]) for one in self.export.files)]
        return sha256("\n".join(said).encode()).hexdigest()


def predict(
    model: Model,
    inputs: Sequence[Mapping[str, Any]],
    pieces: Sequence[bytes] = (),
    *,
    options: Mapping[str, Any] | None = None,
) -> JSON:
    """What the model answers: {"answers", "milliseconds", "batch", "latency", "labels", "problem"}
    as serving.py says. Loads it when it is not warm. Raises Busy, TookTooLong, Died, Unusable, and
    storage.Damaged and Away."""
    until = time.monotonic() + settings.DISTILLHUB_PREDICT_SECONDS
    asked = {
        "verb": "predict", "key": model.key, "inputs": list(inputs), "options": dict(options or {}),
    }  # fmt: skip
    while True:
        said = _asked(asked, pieces, until)
        if said["status"] != "unknown":
            return _understood(said)
        _load(model, until)


def status() -> JSON | None:
    """{"pid", "seconds", "models", "bytes"} of the predictor that lives, or None. Starts none."""
    with contextlib.suppress(OSError, frames.Torn), _connected() as line:
        line.settimeout(5)
        frames.send(line, {"verb": "status"})
        return frames.receive(line)[0]
    return None


def hang_up() -> None:
    """Let go of the connections that wait: the predictor then ends, unless others ask it."""
    with _lock:
        waiting = [line for lines in _lines.values() for line in lines]
        _lines.clear()
    for line in waiting:
        line.close()


def folder() -> Path:
    """This machine's, also where several have one home folder: a socket reaches no other machine,
    and a lock may."""
    name = sha256(machine.host().encode()).hexdigest()[:8]
    found = storage.working_folder(f"predictor/{name}")
    for one in (found.parent, found):
        one.chmod(0o700)
    return found


# -- asking ---------------------------------------------------------------------------------------

_lines: dict[Path, list[socket.socket]] = {}  # that wait, by the predictor's folder
_lock, _starting = threading.Lock(), threading.Lock()


def _asked(header: JSON, pieces: Sequence[bytes], until: float) -> JSON:
    """One message and its answer, of a new predictor where one died. Raises TookTooLong, Died."""
    deaths = 0
    while True:
        line, was_used = _line(until)
        left = until - time.monotonic()
        if left <= 0:
            line.close()
            raise _too_long()
        try:
            line.settimeout(left)
            frames.send(line, {**header, "seconds": left}, pieces)
            said, _ = frames.receive(line)
        except TimeoutError:
            line.close()
            raise _too_long() from None
        except (frames.Torn, OSError) as error:
            line.close()
            if not was_used:  # one that waited may belong to a predictor that is long gone
                deaths += 1
            if deaths >= TRIES:
                raise Died(
                    "The process that answers ended twice while it answered this; probably this "
                    "machine's memory is too small for the model. Try again, or take a smaller one."
                ) from error
            continue
        except BaseException:
            line.close()
            raise
        _keep(line)
        return said


def _load(model: Model, until: float) -> None:
    """Have the predictor read a model's files, which are verified copies in a folder of their own.
    Raises Unusable, storage.Damaged and Away."""
    home = folder() / "models" / uuid.uuid4().hex
    asked: JSON = {
        "verb": "load", "key": model.key, "name": model.name, "task": model.task,
        "folder": str(home / "model"), "files": list(model.files),
    }  # fmt: skip
    try:
        for file in model.files:
            storage.local_copy(file["sha256"], home / "model" / file["name"])
        if model.export is not None:
            for file in model.export.files:
                storage.local_copy(file["sha256"], home / "export" / file["name"])
            asked["export"] = {
                "name": model.export.name,
                "format": model.export.format,
                "folder": str(home / "export"),
                "files": list(model.export.files),
            }
        _understood(_asked(asked, (), until))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _understood(said: JSON) -> JSON:
    match said["status"]:
        case "ok":
            return said
        case "busy":
            raise Busy("So many ask just now that this had to be refused; try again in a second.")
        case "late":
            raise _too_long()
    raise Unusable(str(said["sentence"]), code=str(said["code"]))


def _too_long() -> TookTooLong:
    return TookTooLong(
        f"No answer within {settings.DISTILLHUB_PREDICT_SECONDS} seconds. A model that was just "
        "loaded answers faster: try again, or send fewer inputs at once."
    )


def _line(until: float) -> tuple[socket.socket, bool]:
    """A connection, and whether it was used before; to a new predictor when none lives."""
    with _lock:
        waiting = _lines.get(folder())
        if waiting:
            return waiting.pop(), True
    with contextlib.suppress(OSError):
        return _connected(), False
    with _starting:
        process = None
        patience = min(until, time.monotonic() + STARTING)
        while time.monotonic() < patience:
            with contextlib.suppress(OSError):
                return _connected(), False
            if process is None or process.poll() is not None:
                process = _start()
            time.sleep(0.02)
    raise Died(
        "The process that answers does not start on this machine; the home folder's "
        "predictor/*/log says why."
    )


def _keep(line: socket.socket) -> None:
    with _lock:
        waiting = _lines.setdefault(folder(), [])
        if len(waiting) < KEPT:
            waiting.append(line)
            return
    line.close()


def _connected() -> socket.socket:
    """Raises OSError where none listens."""
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        line.connect(os.fspath(frames.address(folder())))
    except OSError:
        line.close()
        raise
    return line


def _start() -> "subprocess.Popen[bytes]":
    home = folder()
    threads = settings.DISTILLHUB_PREDICT_THREADS
    config = {
        "threads": threads,
        "most_models": settings.DISTILLHUB_WARM_MODELS,
        "most_bytes": settings.DISTILLHUB_WARM_MIB << 20,
        "idle_seconds": settings.DISTILLHUB_WARM_SECONDS,
    }
    folders.write_json(home / "config.json", config)
    with (home / "log").open("ab" if _is_short(home / "log") else "wb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command; no part of it is user input
            [sys.executable, "-P", "-m", "training.engine", "serve", str(home)],
            cwd=home,
            env=child.environment(threads),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    threading.Thread(target=process.wait, name="predictor", daemon=True).start()
    return process


def _is_short(path: Path) -> bool:
    """A log that grew is begun anew."""
    return path.exists() and path.stat().st_size < 1 << 20
