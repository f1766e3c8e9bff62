"""Answering while others ask: `python -m training.engine serve FOLDER`.

One process for a machine, which keeps the models used last in memory (warm_models.py) and listens
on a Unix socket in FOLDER (frames.py). `config.json` there: {"threads", "most_models",
"most_bytes", "idle_seconds"}. A caller says

    {"verb": "predict", "key", "inputs": [{"text"} | {"messages"} | {"piece"} | {"columns"}],
     "options": {"top"?, "measure"?, "most"?, "temperature"?, "seed"?, "shown"?}, "seconds"}
    {"verb": "load", "key", "name", "task", "folder", "files": [{"name", "sha256"}],
     "export"?: {"name", "format", "folder", "files"}}
    {"verb": "status"}

and is answered {"status": "ok", ...}, {"status": "unknown"} (load it first), {"status": "busy"},
{"status": "late"}, or {"status": "failed", "code", "sentence"}.

A lock in FOLDER lets one live; another that is started meanwhile ends at once. It ends by itself
when nobody is connected any more, so that it never outlives those who ask it, whatever ended them,
and when nobody asked for a while. What it holds is a copy: nothing is lost with it.
"""

import contextlib
import errno
import faulthandler
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from training.engine import frames

if TYPE_CHECKING:
    from training.engine.warm_models import Warm

JSON = dict[str, Any]
LOCKED = 5.0  # seconds for which one that ends may still hold the lock
ALONE = 3.0  # seconds without a connection, after which it ends
FIRST = 30.0  # seconds within which the first one comes
MOST_CONNECTIONS = 256
MOST_INPUTS = 256  # of a request
OLD = 3600.0  # seconds: folders of models that a dead caller left
NO_MEMORY = "This machine's memory is too small for that model beside what else runs."


def run(folder: Path) -> NoReturn:
    """Serve until nobody asks any more, and end the process."""
    faulthandler.enable()
    _be_modest()
    lock = _lock(folder)
    if lock is None:
        os._exit(0)
    said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    threads = str(max(1, int(said["threads"])))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = threads  # before torch is imported
    listener = _listen(folder)
    _tidy(folder / "models")
    server = Server(listener, folder, said)
    signal.signal(signal.SIGTERM, lambda number, frame: server.leave())
    server.serve()
    frames.address(folder).unlink(missing_ok=True)
    os._exit(0)


def _be_modest() -> None:
    """Whoever asks should outlive this when memory ends."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _lock(folder: Path) -> int | None:
    """Held until this process ends; None where another one lives."""
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + LOCKED
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
        if time.monotonic() > until:
            return None
        time.sleep(0.05)


def _listen(folder: Path) -> socket.socket:
    path = frames.address(folder)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    finally:
        os.umask(before)
    listener.listen(128)
    return listener


def _tidy(models: Path) -> None:
    for path in models.iterdir() if models.is_dir() else ():
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > OLD:
                shutil.rmtree(path, ignore_errors=True)


class Server:
    def __init__(self, listener: socket.socket, folder: Path, said: JSON) -> None:
        self.listener, self.folder = listener, folder
        self.idle = float(said["idle_seconds"])
        self._said = said
        self._warm: Warm | None = None
        self._lock, self._importing = threading.Lock(), threading.Lock()
        self._open = self._busy = 0
        self._asked_at = self._left_at = time.monotonic()
        self._met = False
        self._leaving = False
        self._began = time.monotonic()

    def leave(self) -> None:
        self._leaving = True

    def serve(self) -> None:
        """Until it is over."""
        self.listener.settimeout(0.5)
        threading.Thread(target=self._import, name="importing", daemon=True).start()
        while not self._is_over():
            try:
                caller, _ = self.listener.accept()
            except TimeoutError:
                continue
            with self._lock:
                self._met = True
                self._open += 1
            threading.Thread(target=self._attend, args=(caller,), daemon=True).start()
        self.listener.close()

    def _import(self) -> None:
        """torch takes seconds, in which callers may already send."""
        self.warm()

    def warm(self) -> "Warm":
        with self._importing:
            if self._warm is None:
                import torch  # noqa: PLC0415 - after the threads are set

                from training.engine.warm_models import Warm  # noqa: PLC0415

                torch.set_num_threads(max(1, int(self._said["threads"])))
                self._warm = Warm(
                    most_models=max(1, int(self._said["most_models"])),
                    most_bytes=int(self._said["most_bytes"]),
                    threads=max(1, int(self._said["threads"])),
                )
            return self._warm

    def _is_over(self) -> bool:
        if self._leaving:
            return self._busy == 0
        now = time.monotonic()
        if self._busy:
            return False
        if self._open == 0:
            return now - self._left_at > (ALONE if self._met else FIRST)
        return now - self._asked_at > self.idle

    def _attend(self, caller: socket.socket) -> None:
        """One connection, as long as it lasts."""
        try:
            with caller:
                if self._open > MOST_CONNECTIONS:
                    frames.send(caller, {"status": "busy"})
                    return
                while True:
                    header, pieces = frames.receive(caller)
                    self._count(1)
                    try:
                        said = self._answer(header, pieces)
                        frames.send(caller, said)
                    finally:
                        self._count(-1)
        except (frames.Torn, OSError):
            return
        finally:
            with self._lock:
                self._open -= 1
                self._left_at = time.monotonic()

    def _count(self, more: int) -> None:
        with self._lock:
            self._busy += more
            self._asked_at = time.monotonic()

    # -- verbs ------------------------------------------------------------------------------------

    def _answer(self, header: JSON, pieces: list[bytes]) -> JSON:
        from training.engine import job  # noqa: PLC0415

        try:
            match header.get("verb"):
                case "predict":
                    return self._predict(header, pieces)
                case "load":
                    began = time.perf_counter()
                    self.warm().load(str(header["key"]), header)
                    return {"status": "ok", "seconds": time.perf_counter() - began}
                case "status":
                    return self._status()
            return _failed("bad_request", "There is no such verb.")
        except MemoryError:
            return _failed("out_of_memory", NO_MEMORY)
        except Exception as error:  # the caller must hear of it
            failed = job.explain(error)
            sys.stderr.write(failed.trace)
            if failed.code == "out_of_memory":
                return _failed(failed.code, NO_MEMORY)
            return _failed(failed.code, failed.sentence)

    def _predict(self, header: JSON, pieces: list[bytes]) -> JSON:
        from training.engine.warm_models import Busy, Gone, Request  # noqa: PLC0415

        until = time.monotonic() + float(header["seconds"])
        seat = self.warm().find(str(header["key"]))
        if seat is None:
            return {"status": "unknown"}
        said = [_with_piece(one, pieces) for one in header["inputs"][:MOST_INPUTS]]
        options = dict(header.get("options") or {})
        if options.get("measure") and said:
            options["first"] = said[0]
        began = time.perf_counter()
        request = Request([seat.read(one) for one in said], options, until)
        reading = 1000.0 * (time.perf_counter() - began)
        try:
            seat.ask(request)
        except Busy:
            return {"status": "busy"}
        except Gone:
            return {"status": "unknown"}
        if not request.done.wait(max(0.0, until - time.monotonic())):
            return {"status": "late"}
        if request.failed is not None:
            return request.failed
        return {
            "status": "ok",
            "answers": request.answers,
            "milliseconds": round(reading + request.milliseconds, 3),
            "batch": request.batch,
            "latency": request.latency,
            "labels": list(seat.network.labels),
            "problem": seat.network.problem,
        }

    def _status(self) -> JSON:
        from training.engine.warm_models import resident_bytes  # noqa: PLC0415

        return {
            "status": "ok",
            "pid": os.getpid(),
            "seconds": round(time.monotonic() - self._began, 1),
            "models": self.warm().told(),
            "bytes": resident_bytes(),
        }


def _with_piece(said: JSON, pieces: list[bytes]) -> JSON:
    """The bytes that an input names by their place."""
    if "piece" not in said:
        return said
    place = said["piece"]
    if not isinstance(place, int) or not 0 <= place < len(pieces):
        return {}
    return {"bytes": pieces[place]}


def _failed(code: str, sentence: str) -> JSON:
    return {"status": "failed", "code": code, "sentence": sentence}
