"""Runs of W&B that were kept offline: the file `run-<id>.wandb` in each run's folder.

It is a log as LevelDB writes them (blocks of 32 KiB, records that may be cut into pieces, each with
a checksum) of messages `Record` (wandb_internal.proto, MIT licence; numbers of its fields below).
"""

import json
import math
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

from training.trackers import limits, wire
from training.trackers.found import CANCELLED, FAILED, FINISHED, FoundRun, Unreadable, Writer, flat
from training.trackers.trees import Tree

ENDING = ".wandb"
HEADER = b":W&B"
BLOCK = 32 << 10
WHOLE, FIRST, MIDDLE, LAST = 1, 2, 3, 4
#: Fields of `Record`.
HISTORY, SUMMARY, CONFIG, RUN, EXIT = 2, 3, 5, 17, 18
OWN = "_"  # what W&B itself measures begins with it


def fits(tree: Tree) -> bool:
    return any(name.endswith(ENDING) for name in tree.sizes)


def read(tree: Tree, out: Writer) -> Iterator[FoundRun]:
    others = 0
    for name in sorted(tree.sizes):
        if name.endswith(ENDING):
            yield _run(tree, name)
        else:
            others += "/files/media/" in name or name.startswith("files/media/")
    if others:
        out.leave_out(f"Pictures, tables and other media ({others:,} files).")


def _run(tree: Tree, name: str) -> FoundRun:
    reader = _Reader(FoundRun(key="", name=""))
    with tree.open(name) as stream:
        for message in _records(stream, name, reader.run):
            try:
                reader.take(message)
            except wire.Torn:
                reader.run.leave_out("A record that is no message.")
    return reader.ended(name.rpartition("/")[2].removeprefix("run-").removesuffix(ENDING))


def _records(stream: IO[bytes], name: str, run: FoundRun) -> Iterator[bytes]:
    header = stream.read(7)
    if not header.startswith(HEADER):
        raise Unreadable("not_wandb", f"{name} is no file of a W&B run.")
    if header[6] != 0:
        raise Unreadable("other_version", f"{name} is of version {header[6]}; 0 can be read.")
    pieces: list[bytes] = []
    at, size = 7, 0
    while True:
        left = BLOCK - at % BLOCK
        if left < 7:
            stream.read(left)
            at += left
            continue
        header = stream.read(7)
        if len(header) < 7:
            break
        checksum, length, kind = struct.unpack("<IHB", header)
        data = stream.read(length)
        at += 7 + len(data)
        if len(data) < length:
            run.leave_out("The torn end of its file: the last record is not whole.")
            break
        if not _is_whole(checksum, kind, data):
            run.leave_out("What follows a damaged record.")
            break
        if kind in (WHOLE, FIRST):
            pieces, size = [], 0
        pieces.append(data)
        size += length
        if size > limits.RECORD:
            raise Unreadable("too_large", f"A record of {name} is larger than may be.")
        if kind in (WHOLE, LAST):
            yield b"".join(pieces)
            pieces, size = [], 0


def _is_whole(checksum: int, kind: int, data: bytes) -> bool:
    return checksum == zlib.crc32(data, zlib.crc32(bytes([kind])))


class _Reader:
    def __init__(self, run: FoundRun) -> None:
        self.run = run
        self.identity = self.project = ""
        self.summary: dict[str, Any] = {}
        self.exit: int | None = None
        self.runtime = 0
        self.step, self.points = 0, 0
        self.config: dict[str, Any] = {}

    def take(self, message: bytes) -> None:
        for number, value in wire.fields(message):
            if not isinstance(value, bytes):
                continue
            if number == RUN:
                self._begun(value)
            elif number == CONFIG:
                self.config |= dict(_items(value, 1))
            elif number == HISTORY:
                self._history(value)
            elif number == SUMMARY:
                self.summary |= dict(_items(value, 1))
            elif number == EXIT:
                told = wire.one(value)
                self.exit, self.runtime = wire.integer(told.get(1)), wire.integer(told.get(2))

    def _begun(self, message: bytes) -> None:
        told = wire.one(message)
        self.identity, self.project = wire.text(told.get(1)), wire.text(told.get(3))
        entity, group = wire.text(told.get(2)), wire.text(told.get(6))
        self.run.name = wire.text(told.get(8))
        self.run.notes = wire.text(told.get(9))
        self.run.tags = [wire.text(one) for number, one in wire.fields(message) if number == 10]
        self.config |= dict(_items(wire.inner(told.get(4)), 1))
        begun = wire.one(wire.inner(told.get(17)))
        self.run.started = wire.integer(begun.get(1)) + wire.integer(begun.get(2)) / 1e9 or None
        self.run.about = {
            "entity": entity, "project": self.project, "group": group,
            "job type": wire.text(told.get(7)), "host": wire.text(told.get(13)),
        }  # fmt: skip

    def _history(self, message: bytes) -> None:
        told = dict(_items(message, 1))
        step = wire.integer(wire.one(wire.inner(wire.one(message).get(2))).get(1))
        said = told.get("_step")
        self.step = said if type(said) is int else step
        at = told.get("_timestamp")
        time = float(at) if isinstance(at, int | float) else math.nan
        if not math.isnan(time):
            self.run.ended = max(self.run.ended or 0.0, time)
        for name, value in told.items():
            if name.startswith(OWN):
                continue
            number = _number(value)
            if number is None:
                kind = value.get("_type", "mapping") if isinstance(value, dict) else "text"
                self.run.leave_out(f"{name}: no numbers ({kind}).")
                continue
            self.points += 1
            if self.points > limits.POINTS:
                raise Unreadable("too_many_points", "There are more points than may be.")
            self.run.measure(name, self.step, number, time)

    def ended(self, from_name: str) -> FoundRun:
        run = self.run
        identity = self.identity or from_name
        run.key = f"wandb:{self.project}/{identity}"
        run.name = run.name or identity
        run.about["run id"] = identity
        run.params = flat({k: v for k, v in self.config.items() if not k.startswith(OWN)})
        if self.exit is None:
            run.status, run.is_open = CANCELLED, True
        else:
            run.status = FINISHED if self.exit == 0 else FAILED
        if run.started and self.runtime:
            run.ended = max(run.ended or 0.0, run.started + self.runtime)
        run.ended = run.ended or run.started
        for name, value in self.summary.items():  # told once, at the end
            number = _number(value)
            if not name.startswith(OWN) and name not in run.series and number is not None:
                run.measure(name, self.step, number, run.ended or math.nan)
        return run


def _items(message: bytes, field: int) -> Iterator[tuple[str, Any]]:
    """Names and values, of which the names may be in parts and the values are JSON."""
    for number, value in wire.fields(message):
        if number != field or not isinstance(value, bytes):
            continue
        parts, text = [], ""
        for inner, told in wire.fields(value):
            if inner in (1, 2):
                parts.append(wire.text(told))
            elif inner == 16:
                text = wire.text(told)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            continue
        yield ".".join(part for part in parts if part), found


def _number(value: Any) -> float | None:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    words = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
    return words.get(value) if isinstance(value, str) else None
