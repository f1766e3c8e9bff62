"""TensorBoard's event files: every folder that holds some is a run.

A file is a row of records (length, checksum, message `Event`, checksum: TFRecord), to which its
writer appends; a torn end is what was not written yet. Of an event's summary the numbers are taken,
old (`simple_value`) and new (a tensor of the plugin `scalars`), and the settings of `add_hparams`.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from hashlib import sha256
from typing import IO

from training.trackers import limits, wire
from training.trackers.found import FoundRun, Unreadable, Writer
from training.trackers.trees import Tree

SIGN = "tfevents"
PREFIX = "_hparams_/"
DTYPES = {1: "f", 2: "d", 3: "i", 9: "q", 19: "e"}  # of tensors: float, double, int32, int64, half
KINDS = {"images": "pictures", "histograms": "histograms", "text": "texts", "audio": "sounds"}
#: Folders beside each other that are splits of one training, as Keras and Estimators write them.
SPLITS = {
    "train": "train", "training": "train", "validation": "val", "val": "val", "eval": "eval",
    "test": "test",
}  # fmt: skip


def fits(tree: Tree) -> bool:
    return any(_is_events(name) for name in tree.sizes)


def read(tree: Tree, out: Writer, name: str) -> Iterator[FoundRun]:
    folders: dict[str, list[str]] = defaultdict(list)
    for file in sorted(tree.sizes):
        if _is_events(file):
            folders[file.rpartition("/")[0]].append(file)
    merged = _merged(folders)
    for home, parts in merged.items():
        yield _run(tree, home, parts, name, out)


def _is_events(name: str) -> bool:
    return SIGN in name.rpartition("/")[2] and not name.endswith(".profile-empty")


def _merged(folders: dict[str, list[str]]) -> dict[str, list[tuple[str, str]]]:
    """Of every run its files, each with what stands before the names of its series. Settings that
    `add_hparams` writes into a folder of their own, named by the time, belong to the run above."""
    found: dict[str, list[tuple[str, str]]] = {}
    for folder, files in folders.items():
        above, _, last = folder.rpartition("/")
        split = SPLITS.get(last.lower(), "")
        beside = sum(
            one.rpartition("/")[0] == above and one.rpartition("/")[2].lower() in SPLITS
            for one in folders
        )
        if above in folders and _is_time(last):
            home, before = above, ""
        elif split and beside > 1 and above not in folders:
            home, before = above, f"{split}/"
        else:
            home, before = folder, ""
        found.setdefault(home, []).extend((file, before) for file in files)
    return found


def _is_time(name: str) -> bool:
    """`1700000000.123`"""
    whole, dot, rest = name.partition(".")
    return bool(dot) and whole.isdigit() and rest.isdigit() and len(whole) >= 9


def _run(tree: Tree, home: str, parts: list[tuple[str, str]], source: str, out: Writer) -> FoundRun:
    called = home.rpartition("/")[2] or source
    # Neither folder nor archive has an id: its first file's name tells time, machine and process.
    first = min(file.rpartition("/")[2] for file, _ in parts)
    run = FoundRun(key="", name=called, about={"folder": home})
    begun: list[float] = []
    for file, before in parts:
        reader = _Reader(run, before)
        with tree.open(file) as stream:
            for event in _records(stream, file, run):
                try:
                    reader.take(event)
                except wire.Torn as torn:
                    raise Unreadable("not_events", f"{file} is no event file: {torn}") from None
        begun += reader.times[:1]
        run.ended = max([run.ended or 0.0, *reader.times]) or None
    start = min(begun, default=0.0)
    run.started = start or None
    run.key = f"tensorboard:{sha256(f'{first}|{start}'.encode()).hexdigest()[:32]}"
    return run


def _records(stream: IO[bytes], name: str, run: FoundRun) -> Iterator[bytes]:
    """Every whole message. The end of a file that is being written may be torn."""
    while header := stream.read(12):
        if len(header) < 12:
            break
        size = int(struct.unpack("<Q", header[:8])[0])
        if size > limits.RECORD:
            raise Unreadable("not_events", f"{name} is no event file, or is damaged.")
        message = stream.read(size)
        if len(message) < size or len(stream.read(4)) < 4:
            run.leave_out("The torn end of an event file: its last record is not whole.")
            break
        yield message


class _Reader:
    """Of one file: which plugin a tag is of is said the first time only."""

    def __init__(self, run: FoundRun, before: str) -> None:
        self.run, self.before = run, before
        self.plugins: dict[str, str] = {}
        self.times: list[float] = []  # first and last
        self.points = 0

    def take(self, message: bytes) -> None:
        event = wire.one(message)
        time, step = wire.double(event.get(1)), wire.integer(event.get(2))
        if time > 0:
            self.times = [self.times[0], time] if self.times else [time]
        for number, value in wire.fields(wire.inner(event.get(5))):
            if number == 1 and isinstance(value, bytes):
                self._value(value, step, time)

    def _value(self, message: bytes, step: int, time: float) -> None:
        value = wire.one(message)
        tag, plugin = wire.text(value.get(1)), ""
        if 9 in value:
            data = wire.one(wire.inner(wire.one(wire.inner(value[9])).get(1)))
            plugin = wire.text(data.get(1))
            self.plugins.setdefault(tag, plugin)
            if plugin == "hparams":
                self._settings(wire.inner(data.get(2)))
                return
        plugin = plugin or self.plugins.get(tag, "")
        number: float | None = None
        if 2 in value:
            number = wire.single(value[2])
        elif 8 in value and plugin in ("", "scalars"):
            number = _scalar(wire.inner(value[8]))
        if number is None or not tag:
            kind = "histograms" if 5 in value else "pictures" if 4 in value else plugin
            self.run.leave_out(f"{KINDS.get(kind, kind or 'other things').capitalize()}: {tag}.")
            return
        self.points += 1
        if self.points > limits.POINTS:
            raise Unreadable("too_many_points", "There are more points than may be.")
        self.run.measure(f"{self.before}{tag}", step, number, time)

    def _settings(self, content: bytes) -> None:
        started = wire.one(wire.inner(wire.one(content).get(3)))
        for number, value in wire.fields(wire.inner(wire.one(content).get(3))):
            if number == 1 and isinstance(value, bytes):
                pair = wire.one(value)
                told = wire.one(wire.inner(pair.get(2)))
                self.run.params[wire.text(pair.get(1))] = _setting(told)
        if 5 in started and not self.times:
            self.times = [wire.double(started[5])]


def _setting(told: dict[int, wire.Value]) -> float | int | str | bool | None:
    if 2 in told:
        number = wire.double(told[2])
        return int(number) if number.is_integer() and abs(number) < 2**53 else number
    if 3 in told:
        return wire.text(told[3])
    return bool(told[4]) if 4 in told else None


def _scalar(message: bytes) -> float | None:
    """Of a tensor with one number."""
    tensor = wire.one(message)
    kind = DTYPES.get(wire.integer(tensor.get(1)))
    if kind is None:
        return None
    content = wire.inner(tensor.get(4))
    size = struct.calcsize(f"<{kind}")
    if len(content) == size:
        return float(struct.unpack(f"<{kind}", content)[0])
    if kind == "f":
        return _last(tensor.get(5), 4)
    if kind == "d":
        return _last(tensor.get(6), 8)
    return None


def _last(value: wire.Value | None, size: int) -> float | None:
    if not isinstance(value, bytes) or len(value) != size:
        return None
    return wire.single(value) if size == 4 else wire.double(value)
