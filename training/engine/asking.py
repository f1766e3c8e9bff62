"""Whether a teacher is asked about the training rows once, and its answers stored, or live in every
step: a measured estimate.

A few batches are asked and read back, timed, and counted up: a live teacher is asked in every epoch
of every run that wants the same answers; a stored one once (once a view, where rows are augmented),
written, and read in every epoch. Stored answers serve later runs too, so live must be clearly
faster to be chosen. What would fill the disk is asked live, whatever that takes. The choice is
noted with the job: one that goes on has the same teacher.
"""

import json
import shutil
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.engine import stored_layers
from training.engine.answers import Answer, Wanted
from training.engine.augmentation import View
from training.engine.data import Indices
from training.engine.errors import ConfigError, Fault
from training.engine.stored_layers import Shape, StoredLayers, UnstorableError, Writer
from training.engine.teacher_outputs import Teacher

JSON = dict[str, Any]
MOST_BYTES = 8 << 30  # of a run's answers to training rows, where nobody asked for more
SHARE = 10  # of the free disk they may take: a tenth
AT_ONCE = 64  # rows of a batch that is timed, at most
TRIED = 8_000_000  # numbers beside layers that are written and read back, at most
MARGIN, SLACK = 1.1, 2.0  # times, and seconds, that storing may take longer than asking live


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run wants of one teacher's answers to the training rows."""

    wanted: Wanted
    reads: tuple[str, ...]  # layers, by name or by kind
    views: tuple[View | None, ...]  # (None,) where rows are as they are
    epochs: int
    runs: int  # that want the same answers: this one, and those of its sweep
    batch_size: int

    @property
    def times(self) -> int:
        """That a live teacher answers every row."""
        return self.epochs * self.runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Seconds of all runs together, and bytes on the disk."""

    live_seconds: float
    once_seconds: float  # asking and writing what the store lacks
    read_seconds: float
    bytes: int
    room: int  # bytes that they may take unasked
    free: int  # bytes of the disk

    @property
    def is_slower(self) -> bool:
        """Whether storing is clearly slower than asking live."""
        return self.once_seconds + self.read_seconds > MARGIN * self.live_seconds + SLACK


@dataclass(frozen=True, slots=True)
class Decision:
    stored: bool
    sentence: str  # nothing where the store had all before
    estimate: Estimate | None = None

    def as_dict(self) -> JSON:
        return asdict(self)


def decide(teacher: Teacher, plan: Plan, mode: str, store: Path, home: Path) -> Decision:
    """How this teacher is asked. `mode` is the run's `teacher_outputs`, `store` the folder of
    answers, `home` that of prepared inputs. Raises ConfigError where answers that must be stored
    cannot be."""
    folders = [
        folder
        for view in plan.views
        for folder in (
            teacher.place_of(store, "train", view),
            *teacher.layers_of(store, "train", plan.reads, view).values(),
        )
    ]
    name = "-".join(folder.name[:8] for folder in (*folders[:2], folders[-1]))
    noted = home / f"asking-{name}.json"
    if noted.is_file():
        said = json.loads(noted.read_text())
        if not said["stored"]:
            teacher.prepare(home)
        return Decision(said["stored"], said["sentence"])
    if all(folder.is_dir() for folder in folders):
        return Decision(True, "")
    teacher.prepare(home)
    lacking = sum(not folder.is_dir() for folder in folders) / len(folders)
    try:
        estimate = measure(teacher, plan, store, lacking)
    except UnstorableError as why:
        if mode != "auto":
            sentence = f"The layers of {teacher.network.name} cannot be stored: {why}. Ask it live."
            raise ConfigError([Fault("teacher_outputs", sentence)]) from None
        decision = Decision(False, f"Live: layers of the teacher cannot be stored, for {why}.")
    else:
        decision = choose(estimate, plan, mode)
    noted.parent.mkdir(parents=True, exist_ok=True)
    part = noted.with_suffix(".part")
    part.write_text(json.dumps(decision.as_dict()))
    part.replace(noted)
    return decision


def choose(found: Estimate, plan: Plan, mode: str) -> Decision:
    """By size, then by seconds; `auto` alone may choose to ask live. Raises ConfigError."""
    size = bytes_in_words(found.bytes)
    if mode != "auto" and found.bytes > found.free // 2:
        sentence = (
            f"Stored answers would take {size}, and {bytes_in_words(found.free)} are free. Ask the "
            "teacher live, compare fewer layers, or take fewer views."
        )
        raise ConfigError([Fault("teacher_outputs", sentence)])
    asks = f"{_number(plan.epochs, 'epoch')}{_of_runs(plan.runs)}"
    live = f"{_times(plan.times)} (about {seconds_in_words(found.live_seconds)})"
    if mode == "auto" and found.bytes > found.room:
        sentence = (
            f"Live: stored answers would take {size}, more than {bytes_in_words(found.room)} (a "
            f"tenth of the free disk, at most 8 GiB), so the teacher is asked {live} in {asks}."
        )
        return Decision(False, sentence, found)
    once = seconds_in_words(found.once_seconds)
    read = seconds_in_words(found.read_seconds)
    if mode == "auto" and found.is_slower:
        sentence = (
            f"Live: the teacher is asked {live} in {asks}; storing would cost {once} and {size}, "
            f"and reading {read}."
        )
        return Decision(False, sentence, found)
    what = "once costs" if plan.views == (None,) else f"{_number(len(plan.views), 'view')} cost"
    costs = f"{what} {once} and {size}, and reading {read}"
    sentence = f"Stored: {asks} would ask the teacher {live}; {costs}."
    return Decision(True, sentence, found)


# -- measuring ------------------------------------------------------------------------------------


def measure(teacher: Teacher, plan: Plan, store: Path, lacking: float = 1.0) -> Estimate:
    """From a few batches of training rows; the teacher must be prepared. `lacking` is the share of
    what is wanted that the store has not. Raises UnstorableError."""
    rows, view = teacher.dataset.splits["train"], plan.views[0]
    shape = teacher.shape("train", plan.wanted, plan.reads, view) if plan.reads else None
    batches = _typical(teacher, rows, plan.batch_size)
    _asked(teacher, batches[0], plan.wanted, view)  # the first warms caches up
    began = time.perf_counter()
    said = [_asked(teacher, one, plan.wanted, view) for one in batches]
    asked = sum(map(len, batches))
    a_row = (time.perf_counter() - began) / asked
    store.mkdir(parents=True, exist_ok=True)
    wrote, read = _tried(teacher, batches, said, shape, store)
    size = teacher.bytes_of("train")
    if shape is not None:
        size += _bytes(teacher, shape, rows, batches, said)
    free = shutil.disk_usage(store).free
    return Estimate(
        live_seconds=a_row * len(rows) * plan.times,
        once_seconds=lacking * (a_row + wrote / asked) * len(rows) * len(plan.views),
        read_seconds=read / asked * len(rows) * plan.times,
        bytes=size * len(plan.views),
        room=min(MOST_BYTES, free // SHARE),
        free=free,
    )


def _typical(teacher: Teacher, rows: Indices, size: int) -> list[Indices]:
    """Two batches as training has them: rows of like length together, at a fourth and at three."""
    lengths = None if teacher.inputs is None else teacher.inputs.lengths
    if lengths is not None:
        rows = rows[np.argsort(lengths[rows], kind="stable")]
    size = min(size, len(rows), AT_ONCE)
    last = len(rows) - size
    return [rows[start : start + size] for start in (last // 4, 3 * last // 4)]


def _asked(teacher: Teacher, rows: Indices, wanted: Wanted, view: View | None) -> Answer:
    """As a step asks a live teacher."""
    batch = None if view is None else teacher.seen(view).batch(rows)
    return teacher.answer(rows, "train", wanted, batch)


def _tried(
    teacher: Teacher,
    batches: Sequence[Indices],
    said: Sequence[Answer],
    shape: Shape | None,
    store: Path,
) -> tuple[float, float]:
    """Seconds of writing these answers beside the store, and of reading them back."""
    home = store / f".tried-{time.time_ns()}"
    rows = sum(map(len, batches))
    every = max(1, rows * teacher.bytes_of("train") // 2 // len(teacher.dataset.splits["train"]))
    numbers = np.zeros(min(every, TRIED), np.float16)
    times = every / len(numbers)
    places = np.split(np.arange(rows), np.cumsum([len(one) for one in batches])[:-1])
    try:
        home.mkdir()
        began = time.perf_counter()
        np.save(home / "numbers.npy", numbers)
        wrote = times * (time.perf_counter() - began)
        began = time.perf_counter()
        if shape is not None:
            writer = Writer(home / "layers", shape, rows)
            for which, one in zip(places, said, strict=True):
                writer.add(which, one)
            writer.finish(np.arange(rows))
        wrote += time.perf_counter() - began
        kept = np.load(home / "numbers.npy", mmap_mode="r").view(np.ndarray)
        layers = StoredLayers([(home / "layers", shape)]) if shape is not None else None
        began = time.perf_counter()
        torch.from_numpy(kept.astype(np.float32)).to(teacher.place.device)
        read = times * (time.perf_counter() - began)
        began = time.perf_counter()
        if layers is not None:
            for which in places:
                layers.answer(which).to(teacher.place.device)
        return wrote, read + time.perf_counter() - began
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _bytes(
    teacher: Teacher,
    shape: Shape,
    rows: Indices,
    batches: Sequence[Indices],
    said: Sequence[Answer],
) -> int:
    """Of the layers of all rows: exact where the places of a row are known beforehand."""
    if not shape.is_ragged:
        return shape.bytes_of(np.ones(len(rows), dtype=np.int64))
    lengths = None if teacher.inputs is None else teacher.inputs.lengths
    places = [stored_layers.lengths_of(one) for one in said]
    known = [
        lengths is not None and (found is None or np.array_equal(found, lengths[some]))
        for some, found in zip(batches, places, strict=True)
    ]
    if lengths is not None and all(known):
        return shape.bytes_of(lengths[rows])
    seen = np.concatenate([one for one in places if one is not None])
    return shape.bytes_of(seen) * len(rows) // len(seen)


# -- words ----------------------------------------------------------------------------------------


def seconds_in_words(seconds: float) -> str:
    if seconds >= 7200:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 9.95 else f"{seconds:.2g} s"


def bytes_in_words(size: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            shown = size / factor
            return f"{shown:.0f} {unit}" if shown >= 9.95 else f"{shown:.1f} {unit}"
    return f"{size} bytes"


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _of_runs(runs: int) -> str:
    return "" if runs == 1 else f" of {runs:,} runs"


def _times(times: int) -> str:
    return {1: "once", 2: "twice"}.get(times, f"{times:,} times")


def reads_of(names: Collection[str]) -> tuple[str, ...]:
    """In order, and without those whose whole kind is read."""
    return tuple(
        sorted(one for one in names if "." not in one or stored_layers.kind_of(one) not in names)
    )
