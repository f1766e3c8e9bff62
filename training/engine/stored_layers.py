"""What happens inside a teacher, stored: layers, attention, relations and last vectors, in float16.

An entry is of one kind, and holds those layers that the terms of a run compare. Each layer is one
file of numbers end to end, row after row in the order they were asked, and lies in one of three
forms:

row      any shape that all rows share: maps of pictures, vectors
places   `[places, ...]` of each row, as many as it has tokens: padding is not stored
pairs    `[heads, places, places]` of each row: attention

`lengths.npy` (places of a row; 1 where all rows share a shape) and `order.npy` (the place within
the split of each row, as asked) say where a row lies. Files are only ever added to, so an
interrupted job goes on behind the last whole batch. `bytes` of a row: 2 x its numbers.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.engine.answers import Answer, Wanted
from training.engine.data import Indices

JSON = dict[str, Any]
#: Kinds of an entry as people see them, by what a term wants.
KINDS = {
    "hidden": "layers",
    "attention": "attention",
    "relations": "relations",
    "embedding": "embeddings",
}
HIGHEST = 65_504.0  # of float16
ABSENT = torch.empty(0)  # stands for a layer that nobody asked for


class UnstorableError(Exception):
    """Layers whose places are not known row by row; says why, behind `because`."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How one layer of a row lies in its file."""

    form: str  # row, places or pairs
    shape: tuple[int, ...]  # of a row; without its places, of which each row has its own number

    def numbers(self, lengths: Indices) -> Indices:
        """Of each row, by its number of places."""
        once = prod(self.shape)
        return once * {"row": lengths * 0 + 1, "places": lengths, "pairs": lengths**2}[self.form]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a teacher shows of its layers: their layouts by name (`hidden.3`), how many there are of
    a kind, and how wide a batch is padded where not as wide as its longest row."""

    layouts: Mapping[str, Layout]
    counts: Mapping[str, int]
    padded: int | None = None

    @property
    def is_ragged(self) -> bool:
        return any(one.form != "row" for one in self.layouts.values())

    def of(self, kind: str) -> "Shape":
        """Of one kind alone."""
        inside = {name: one for name, one in self.layouts.items() if kind_of(name) == kind}
        return Shape(inside, {kind: self.counts[kind]}, self.padded)

    def bytes_of(self, lengths: Indices) -> int:
        """Of rows with these numbers of places."""
        return 2 * sum(int(one.numbers(lengths).sum()) for one in self.layouts.values())

    def as_dict(self) -> JSON:
        return {
            "layouts": {name: asdict(one) for name, one in self.layouts.items()},
            "counts": dict(self.counts),
            "padded": self.padded,
        }

    @classmethod
    def read(cls, said: JSON) -> "Shape":
        layouts = {
            name: Layout(one["form"], tuple(one["shape"])) for name, one in said["layouts"].items()
        }
        return cls(layouts, said["counts"], said["padded"])


# -- names ----------------------------------------------------------------------------------------


def kind_of(name: str) -> str:
    """`hidden` of `hidden.3`."""
    return name.split(".")[0]


def kinds(wanted: Wanted) -> list[str]:
    return [kind for kind in KINDS if getattr(wanted, kind)]


def parts(answer: Answer) -> dict[str, Tensor]:
    """All that an answer shows beside its logits, by name."""
    found = {
        f"{kind}.{place}": one
        for kind in ("hidden", "attention", "relations")
        for place, one in enumerate(getattr(answer, kind))
    }
    return found if answer.embedding is None else {**found, "embedding": answer.embedding}


def read_by(names: Iterable[str], asked: Iterable[str]) -> list[str]:
    """Those of the names that are asked for: by name, or by kind, which is all of it."""
    every = set(asked)
    return [name for name in names if name in every or kind_of(name) in every]


# -- shapes ---------------------------------------------------------------------------------------


def shape_of(
    short: Answer, long: Answer, read: tuple[int, int] | None, asked: Iterable[str]
) -> Shape:
    """What is to be stored, from the answers to some short rows and to some long ones. `read` are
    the lengths of the longest row of each, None where all rows are of one size. Raises
    UnstorableError."""
    first, second = parts(short), parts(long)
    names = read_by(first, asked)
    counts = {kind: sum(kind_of(one) == kind for one in first) for kind in KINDS}
    answers = tuple(enumerate((short, long)))
    times = [
        one.mask.shape[1] if one.mask is not None else read[place] if read else None
        for place, one in answers
    ]
    layouts = {name: _layout(name, first[name], second[name], times) for name in names}
    found = Shape(layouts, {kind: count for kind, count in counts.items() if count})
    longest = [
        int(one.mask.sum(dim=1).max()) if one.mask is not None else times[place]
        for place, one in answers
    ]
    if not found.is_ragged or times == longest:
        return found
    if times[0] != times[1]:
        raise UnstorableError("its batches are padded in a way that is not known")
    return Shape(found.layouts, found.counts, times[0])


def _layout(name: str, one: Tensor, two: Tensor, times: Sequence[int | None]) -> Layout:
    kind, shape = kind_of(name), tuple(one.shape[1:])
    at = {"hidden": 0, "relations": 1, "attention": 1}.get(kind)  # where its places stand
    in_time = (
        at is not None
        and len(shape) == {"hidden": 2, "relations": 3, "attention": 3}[kind]
        and (one.shape[1 + at], two.shape[1 + at]) == tuple(times)
    )
    if in_time and kind == "attention":
        return Layout("pairs", shape[:1])
    if in_time:
        return Layout("places", shape[1:] if at == 0 else (shape[0], *shape[2:]))
    if shape != tuple(two.shape[1:]):
        raise UnstorableError(f"its {name.replace('.', ' ')} has as many places as a batch")
    return Layout("row", shape)


def lengths_of(answer: Answer) -> Indices | None:
    """Places of each row of a batch; None where it has no places of its own."""
    if answer.mask is None:
        return None
    found: Indices = answer.mask.sum(dim=1).cpu().numpy().astype(np.int64)
    return found


# -- writing --------------------------------------------------------------------------------------


class Writer:
    """Adds to the files of an entry that is being made. Not for two processes at once."""

    def __init__(self, part: Path, shape: Shape, rows: int) -> None:
        part.mkdir(parents=True, exist_ok=True)
        self.part, self.shape = part, shape
        self.order = np.empty(rows, dtype=np.int64)
        self.lengths = np.ones(rows, dtype=np.int64)  # as asked, like `order`
        self.rows, self.batches = self._before()
        for name, layout in shape.layouts.items():
            kept = 2 * int(layout.numbers(self.lengths[: self.rows]).sum())
            with self.path(name).open("ab") as file:
                if file.tell() < kept:  # less than was noted: begin again
                    self.rows = self.batches = 0
        self._files = {name: self.path(name).open("r+b") for name in shape.layouts}
        self._cut()

    def path(self, name: str) -> Path:
        return self.part / f"{name}.f16"

    def _before(self) -> tuple[int, int]:
        """What an interrupted job had asked: rows, and batches."""
        try:
            said = json.loads((self.part / "done.json").read_text())
            if said["shape"] != json.loads(json.dumps(self.shape.as_dict())):
                return 0, 0
            rows = int(said["rows"])
            self.order[:rows] = np.load(self.part / "order.npy")[:rows]
            self.lengths[:rows] = np.load(self.part / "asked.npy")[:rows]
            return rows, int(said["batches"])
        except (OSError, ValueError, KeyError):
            return 0, 0

    def _cut(self) -> None:
        """Forget what was written behind the last whole batch."""
        for name, file in self._files.items():
            end = 2 * int(self.shape.layouts[name].numbers(self.lengths[: self.rows]).sum())
            file.truncate(end)
            file.seek(end)

    def back_to(self, rows: int, batches: int) -> None:
        """Go back to where another entry of the same pass stands."""
        self.rows, self.batches = rows, batches
        self._cut()

    def add(self, which: Indices, answer: Answer) -> None:
        """A batch: `which` are the places of its rows within the split."""
        every, places = parts(answer), lengths_of(answer)
        if places is None:  # a batch without padding has no mask where rows have places
            time = next((_places(every[name], one) for name, one in self._ragged()), 1)
            places = np.full(len(which), time, dtype=np.int64)
        if not self.shape.is_ragged:
            places = np.ones(len(which), dtype=np.int64)
        for name, layout in self.shape.layouts.items():
            self._files[name].write(_packed(every[name], layout, places))
        self.order[self.rows : self.rows + len(which)] = which
        self.lengths[self.rows : self.rows + len(which)] = places
        self.rows += len(which)
        self.batches += 1

    def _ragged(self) -> Iterable[tuple[str, Layout]]:
        return ((name, one) for name, one in self.shape.layouts.items() if one.form != "row")

    def flush(self) -> None:
        """Have what was asked so far on the disk, and remember how far that is."""
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        np.save(self.part / "order.npy", self.order[: self.rows])
        np.save(self.part / "asked.npy", self.lengths[: self.rows])
        said = {"rows": self.rows, "batches": self.batches, "shape": self.shape.as_dict()}
        part = self.part / "done.part"
        part.write_text(json.dumps(said))
        part.replace(self.part / "done.json")

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def finish(self, row_ids: Indices) -> list[Path]:
        """Its files, once all rows were added, but for the manifest."""
        self.flush()
        self.close()
        lengths = np.empty_like(self.lengths)
        lengths[self.order] = self.lengths
        for name, array in (("lengths", lengths), ("row_ids", row_ids)):
            with (self.part / f"{name}.npy").open("wb") as file:
                np.save(file, array)
                file.flush()
                os.fsync(file.fileno())
        for spent in ("asked.npy", "done.json"):
            (self.part / spent).unlink()
        return sorted(self.part.iterdir())


def _places(layer: Tensor, layout: Layout) -> int:
    at = -1 if layout.form == "pairs" else 1 if layer.ndim == 3 else 2
    return int(layer.shape[at])


def _packed(layer: Tensor, layout: Layout, lengths: Indices) -> bytes:
    """The numbers of some rows, end to end, float16, beyond its range at its ends."""
    said = layer.detach().float().clamp(-HIGHEST, HIGHEST).half().cpu()
    if layout.form == "row":
        return said.contiguous().numpy().tobytes()
    if layout.form == "pairs":
        spans = zip(said, lengths.tolist(), strict=True)
        return b"".join(one[:, :n, :n].contiguous().numpy().tobytes() for one, n in spans)
    by_place = said.transpose(1, 2) if len(layout.shape) == 2 else said
    inside = np.arange(by_place.shape[1]) < lengths[:, None]
    return by_place[torch.from_numpy(inside)].numpy().tobytes()


# -- reading --------------------------------------------------------------------------------------


class StoredLayers:
    """Entries of one pass over a split, read as answers."""

    def __init__(self, folders: Iterable[tuple[Path, Shape]]) -> None:
        self._of = [_Reader(folder, shape) for folder, shape in folders]
        self.names = frozenset(name for one in self._of for name in one.shape.layouts)
        self._whole = frozenset(
            kind
            for one in self._of
            for kind, count in one.shape.counts.items()
            if len(one.shape.layouts) == count
        )

    def hold(self, asked: Iterable[str]) -> bool:
        """Whether all that is asked for, by name or by kind, is there."""
        return all(one in self.names or one in self._whole for one in asked)

    def answer(self, which: Indices) -> Answer:
        """What was said of these rows, by their places within the split; without logits. A layer
        that is not stored is an empty tensor."""
        said = Answer(ABSENT)
        for one in self._of:
            one.add_to(said, which)
        return said


class _Reader:
    """One entry, memory-mapped."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.shape = shape
        self.order = np.load(folder / "order.npy")
        self.lengths = np.load(folder / "lengths.npy")  # in the order of the split
        self.turn = np.empty_like(self.order)  # when each row was asked
        self.turn[self.order] = np.arange(len(self.order))
        self.starts: dict[str, Indices] = {}
        self.files: dict[str, NDArray[np.float16]] = {}
        for name, layout in shape.layouts.items():
            ends = np.cumsum(layout.numbers(self.lengths[self.order]))
            self.starts[name] = np.concatenate([[0], ends])
            path = folder / f"{name}.f16"
            if path.stat().st_size != 2 * int(self.starts[name][-1]):
                raise ValueError(f"{path.name} has another size than its rows")
            kept = np.memmap(path, dtype=np.float16, mode="r")
            self.files[name] = kept.view(np.ndarray)

    def add_to(self, said: Answer, which: Indices) -> None:
        lengths = self.lengths[which]
        time = self.shape.padded or max(1, int(lengths.max()))
        if self.shape.is_ragged:
            said.mask = torch.arange(time) < torch.from_numpy(lengths)[:, None]
        read = {
            name: self._layer(name, layout, which, lengths, time)
            for name, layout in self.shape.layouts.items()
        }
        if "embedding" in read:
            said.embedding = read["embedding"]
        for kind, count in self.shape.counts.items():
            if kind != "embedding":
                every = tuple(read.get(f"{kind}.{place}", ABSENT) for place in range(count))
                setattr(said, kind, every)

    def _layer(
        self, name: str, layout: Layout, which: Indices, lengths: Indices, time: int
    ) -> Tensor:
        file, turns = self.files[name], self.turn[which]
        if layout.form == "row":
            table = file.reshape(len(self.order), -1)
            return torch.from_numpy(table[turns]).float().view(len(which), *layout.shape)
        starts, ends = self.starts[name][turns], self.starts[name][turns + 1]
        spans = [file[one:two] for one, two in zip(starts.tolist(), ends.tolist(), strict=True)]
        if layout.form == "pairs":
            heads = layout.shape[0]
            found = np.zeros((len(which), heads, time, time), dtype=np.float16)
            for row, (span, n) in enumerate(zip(spans, lengths.tolist(), strict=True)):
                found[row, :, :n, :n] = span.reshape(heads, n, n)
            return torch.from_numpy(found).float()
        found = np.zeros((len(which), time, *layout.shape), dtype=np.float16)
        inside = np.arange(time) < lengths[:, None]
        found[inside] = np.concatenate(spans).reshape(-1, *layout.shape)
        shown = torch.from_numpy(found).float()
        return shown.transpose(1, 2) if len(layout.shape) == 2 else shown


def apart(stored: Answer, live: Answer) -> float:
    """The largest difference of any stored layer from a live one at real places, as a share of that
    layer's largest number: float16 keeps 0.05 % of each."""
    most, every = 0.0, parts(live)
    for name, then in parts(stored).items():
        if not then.numel():
            continue
        now = every[name].float().cpu()
        difference, seen = (now - then).abs(), now
        if stored.mask is not None and kind_of(name) != "embedding":
            real = stored.mask
            if kind_of(name) == "attention" and now.shape[-2:] == (real.shape[1],) * 2:
                pairs = (real[:, None, :, None] & real[:, None, None, :]).expand_as(now)
                difference, seen = difference[pairs], now[pairs]
            elif kind_of(name) == "relations" and now.shape[2] == real.shape[1]:
                by_place = difference.transpose(1, 2)
                difference, seen = by_place[real], now.transpose(1, 2)[real]
            elif now.ndim == 3 and now.shape[1] == real.shape[1]:
                difference, seen = difference[real], now[real]
        most = max(most, float(difference.max()) / max(float(seen.abs().max()), 1e-6))
    return most
