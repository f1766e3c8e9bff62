"""Models kept in memory, each with a thread that answers for it.

What is asked while a model answers waits, and is then answered together, in one batch: nobody waits
for company that does not come, and many who ask at once pay for one. Inputs are read before, one by
one, so that a bad one fails alone; where a batch fails nevertheless, each request is tried alone.
"""

import ctypes
import gc
import logging
import os
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import file_digest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from training.engine import evaluate, fresh_inputs, job, networks, replies, written_tokens
from training.engine.errors import ModelError
from training.engine.exporters import EXPORTERS
from training.engine.fresh_inputs import Unreadable
from training.engine.language import LanguagePreprocessing
from training.engine.networks import Network, Place

JSON = dict[str, Any]
log = logging.getLogger(__name__)

CPU = Place(torch.device("cpu"))  # GPUs are the workers'
MOST_ROWS = 256  # inputs of one batch
MOST_WAITING = 1024  # inputs that wait for one model
LINGER = 0.002  # seconds a batch waits for others, where the one before had several requests
MOST_WRITTEN_AT_ONCE = 16  # texts side by side
TIMED_SECONDS = 0.4  # spent on measuring, at most


class Busy(Exception):
    """So much waits for this model that no more is taken."""


class Gone(Exception):
    """The model has just made room for another one."""


@dataclass(slots=True)
class Request:
    """What one caller asks of a model. `read` holds for each input what became of it, or why it
    cannot be read."""

    read: list[Any]
    options: Mapping[str, Any]
    until: float  # by time.monotonic(): nobody waits for the answer any longer
    done: threading.Event = field(default_factory=threading.Event)
    answers: list[JSON] = field(default_factory=list)
    failed: JSON | None = None
    milliseconds: float = 0.0  # of the batch it was in
    batch: int = 0  # inputs of that batch
    latency: JSON | None = None

    @property
    def good(self) -> list[Any]:
        return [one for one in self.read if not isinstance(one, Unreadable)]


class Seat:
    """One model, its queue and its thread."""

    def __init__(self, network: Network, module: nn.Module | None, folder: Path, size: int) -> None:
        self.network, self.module, self.bytes = network, module, size
        self.is_foreign = not (folder / "distillhub.json").exists()
        self.writes = isinstance(network.preprocessing, LanguagePreprocessing)
        self.requests = self.batches = self.inputs = 0
        self._waiting: deque[Request] = deque()
        self._change = threading.Condition()
        self._over = False
        self._company = False  # whether the last batch answered several requests
        threading.Thread(target=self._run, name=network.name, daemon=True).start()

    # -- for callers ------------------------------------------------------------------------------

    def read(self, said: Mapping[str, Any]) -> Any:
        """One input, or why it cannot be read."""
        try:
            if self.writes:
                return written_tokens.read(self.network, self.is_foreign, said)
            return fresh_inputs.read(self.network.preprocessing, said)
        except Unreadable as fault:
            return fault

    def ask(self, request: Request) -> None:
        """Have it answered; `request.done` is set then. Raises Busy and Gone."""
        with self._change:
            if self._over:
                raise Gone
            if sum(len(one.read) for one in self._waiting) + len(request.read) > MOST_WAITING:
                raise Busy
            self._waiting.append(request)
            self._change.notify()

    def close(self) -> None:
        """Answer what waits, and end."""
        with self._change:
            self._over = True
            self._change.notify()

    # -- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while (several := self._next()) is not None:
            now = time.monotonic()
            for one in several:
                if one.until < now:
                    one.failed = {"status": "late"}
            self._answer([one for one in several if one.failed is None])
            for one in several:
                one.done.set()

    def _next(self) -> list[Request] | None:
        """What is answered together; None when it is over."""
        with self._change:
            while not self._waiting:
                if self._over:
                    return None
                self._change.wait()
        if self._company and len(self._waiting) == 1:
            time.sleep(LINGER)
        most = MOST_WRITTEN_AT_ONCE if self.writes else MOST_ROWS
        several: list[Request] = []
        rows = 0
        with self._change:
            while self._waiting and (not several or rows + len(self._waiting[0].read) <= most):
                several.append(self._waiting.popleft())
                rows += len(several[-1].read)
        self._company = len(several) > 1
        return several

    def _answer(self, several: Sequence[Request]) -> None:
        if not several:
            return
        try:
            self._together(several)
        except Exception as error:
            if len(several) > 1:
                for one in several:
                    self._answer([one])
                return
            failed = job.explain(error)
            log.warning("%s: %s", self.network.name, failed.trace)
            several[0].failed = {
                "status": "failed", "code": failed.code, "sentence": failed.sentence,
            }  # fmt: skip

    def _together(self, several: Sequence[Request]) -> None:
        inputs = [one for request in several for one in request.good]
        began = time.perf_counter()
        said = iter(self._said(several, inputs))
        milliseconds = 1000.0 * (time.perf_counter() - began)
        self.requests += len(several)
        self.batches += 1
        self.inputs += len(inputs)
        for request in several:
            request.answers = [
                {"error": str(one)} if isinstance(one, Unreadable) else next(said)
                for one in request.read
            ]
            request.milliseconds, request.batch = milliseconds, len(inputs)
        for request in several:
            if request.options.get("measure") and request.good:
                request.latency = self._timed(request)

    def _said(self, several: Sequence[Request], inputs: list[Any]) -> list[JSON]:
        if not inputs:
            return []
        if self.writes:
            asked = [
                written_tokens.Asked(prompt, **_how(request.options))
                for request in several
                for prompt in request.good
            ]
            until = max(request.until for request in several)
            texts = written_tokens.write(self.network, CPU, asked, until)
            return [{"label": one["text"], "probabilities": {}, **one} for one in texts]
        logits = self._logits(inputs)
        most = [request.options.get("top") for request in several for _ in request.good]
        told = replies.of(self.network, logits, inputs, len(self.network.labels))
        return [
            _cut(one, top) if _is_finite(one) else {"error": NO_NUMBER}
            for one, top in zip(told, most, strict=True)
        ]

    def _logits(self, inputs: list[Any]) -> Any:
        rows = fresh_inputs.joined(self.network.preprocessing, inputs)
        every = np.arange(len(inputs), dtype=np.int64)
        return evaluate.predict(self.network, rows, every, CPU, module=self.module)

    def _timed(self, request: Request) -> JSON:
        """How long one input takes alone, reading included: a few times, in milliseconds. Of a
        text that is written, a token."""
        one = request.good[0]
        times: list[float] = []
        until = time.perf_counter() + TIMED_SECONDS
        while len(times) < int(request.options["measure"]) + 1:
            began = time.perf_counter()
            if self.writes:
                asked = written_tokens.Asked(one, most=8, shown=0)
                told = written_tokens.write(self.network, CPU, [asked], request.until)
                share = max(1, len(told[0]["tokens"]))
            else:
                share = 1
                self.read(request.options["first"])
                replies.of(self.network, self._logits([one]), [one], len(self.network.labels))
            times.append(1000.0 * (time.perf_counter() - began) / share)
            if time.perf_counter() > until and len(times) > 1:
                break
        warm = times[1:]
        return {
            "median_ms": round(float(np.median(warm)), 3),
            "calls": len(warm),
            "of": "token" if self.writes else "input",
        }


NO_NUMBER = "The model answers this with what is no number."


def _how(options: Mapping[str, Any]) -> JSON:
    known = ("most", "temperature", "seed", "shown")
    return {name: options[name] for name in known if options.get(name) is not None}


def _cut(reply: JSON, most: int | None) -> JSON:
    if most is None or "probabilities" not in reply:
        return reply
    return {**reply, "probabilities": dict(list(reply["probabilities"].items())[:most])}


def _is_finite(reply: JSON) -> bool:
    numbers = [*reply["probabilities"].values(), *reply.get("vector", ())]
    numbers += [word["probability"] for word in reply.get("words", ())]
    if isinstance(reply["label"], float):
        numbers.append(reply["label"])
    return bool(np.isfinite(np.array(numbers, dtype=np.float64)).all())


# -- the cache ------------------------------------------------------------------------------------


class Warm:
    """The models used last, within a number of them and a sum of bytes."""

    def __init__(self, *, most_models: int, most_bytes: int, threads: int) -> None:
        self.most_models, self.most_bytes, self.threads = most_models, most_bytes, threads
        self._seats: OrderedDict[str, Seat] = OrderedDict()
        self._loading: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def find(self, key: str) -> Seat | None:
        with self._lock:
            seat = self._seats.get(key)
            if seat is not None:
                self._seats.move_to_end(key)
            return seat

    def load(self, key: str, asked: Mapping[str, Any]) -> Seat:
        """The model of these folders, loaded unless it is here. Raises ModelError."""
        with self._lock:
            lock = self._loading.setdefault(key, threading.Lock())
        with lock:
            found = self.find(key)
            if found is None:
                found = self._load(key, asked)
        with self._lock:
            self._loading.pop(key, None)
        return found

    def _load(self, key: str, asked: Mapping[str, Any]) -> Seat:
        told = [asked, asked["export"]] if asked.get("export") else [asked]
        size = sum(_verified(one) for one in told)
        if size > self.most_bytes:
            raise ModelError(
                f"{asked['name']} takes {size >> 20:,} MiB, more than the "
                f"{self.most_bytes >> 20:,} MiB that may be kept warm here (DISTILLHUB_WARM_MIB)."
            )
        made_room = self._evict(self.most_models - 1, self.most_bytes - size)
        network, module = opened(asked, self.threads)
        seat = Seat(network, module, Path(asked["folder"]), size)
        with self._lock:
            self._seats[key] = seat
        # Another one may have been loaded meanwhile.
        if self._evict(self.most_models, self.most_bytes) or made_room:
            give_memory_back()
        return seat

    def _evict(self, most_models: int, most_bytes: int) -> bool:
        """Let go of what was used longest ago, until that many and so much are left; whether
        anything went."""
        gone = []
        with self._lock:
            while self._seats and (
                len(self._seats) > most_models
                or sum(one.bytes for one in self._seats.values()) > most_bytes
            ):
                gone.append(self._seats.popitem(last=False)[1])
        for one in gone:
            one.close()
        return bool(gone)

    def told(self) -> list[JSON]:
        """What is warm, the one used last behind."""
        with self._lock:
            return [
                {
                    "key": key,
                    "name": seat.network.name,
                    "bytes": seat.bytes,
                    "requests": seat.requests,
                    "batches": seat.batches,
                    "inputs": seat.inputs,
                }
                for key, seat in self._seats.items()
            ]


def opened(asked: Mapping[str, Any], threads: int) -> tuple[Network, nn.Module | None]:
    """The network of a folder, and what answers in its place where an export is asked. Raises
    ModelError."""
    network = networks.load(str(asked["name"]), Path(asked["folder"]), str(asked["task"]))
    network.module.requires_grad_(False).eval()
    CPU.settle(network)
    export = asked.get("export")
    if not export:
        return network, None
    if isinstance(network.preprocessing, LanguagePreprocessing):
        raise ModelError("What writes texts answers here as itself, not as an export of it.")
    method = EXPORTERS[str(export["format"])]
    exporter = method(method.Options())
    module = exporter.open(network, Path(export["folder"]), threads).eval()
    # What was opened scales by itself, and holds the weights: those of the network may go.
    network = replace(network, scale=(0.0, 1.0))
    if exporter.weights != networks.WEIGHTS:
        network.module = nn.Identity()
    return network, module


def _verified(asked: Mapping[str, Any]) -> int:
    """Bytes of the weights among a folder's files, each of which is what it was promised to be.
    Raises ModelError."""
    folder, size = Path(asked["folder"]), 0
    for file in asked["files"]:
        path = folder / file["name"]
        try:
            with path.open("rb") as content:
                same = file_digest(content, "sha256").hexdigest() == file["sha256"]
        except OSError:
            same = False
        if not same:
            raise ModelError(f"{file['name']} of {asked['name']} is not the file that was stored.")
        if path.suffix not in (".json", ".txt", ".md"):
            size += path.stat().st_size
    there = {str(one.relative_to(folder)) for one in folder.rglob("*") if not one.is_dir()}
    strangers = there - {one["name"] for one in asked["files"]}
    if strangers:
        raise ModelError(f"{min(strangers)} of {asked['name']} is no file of it.")
    return size


def give_memory_back() -> None:
    """What an evicted model took, to the system. Only glibc keeps it."""
    gc.collect()
    if sys.platform == "linux":
        trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def resident_bytes() -> int | None:
    """Of this process; only Linux tells."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
