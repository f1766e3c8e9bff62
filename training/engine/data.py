"""A dataset version's Parquet file as memory-mapped arrays, and the order rows are trained in.

Inputs are prepared once per job (tokens, or pixels as bytes) into files that the operating system
pages in and out: a batch costs some microseconds a row, whatever the size of the dataset. The order
of an epoch is a pure function of (seed, epoch), so a resumed job goes on with exactly the batch
that was next.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.engine.errors import DataError
from training.engine.job_config import DatasetInput, Problem

Indices = NDArray[np.int64]
Batch = dict[str, Tensor]
SPLITS = ("train", "validation", "test")
POOL = 50  # batches whose rows are sorted by length together: little padding, still random
UNEVEN = 1.25  # times the shortest row of a batch that is asked, the longest may be
FEWEST = 16  # rows of such a batch, however long: thin products are slow


class Inputs(Protocol):
    """What a network sees of every row of the dataset."""

    @property
    def lengths(self) -> NDArray[np.int64] | None:
        """Of each row, where they differ."""
        ...

    def batch(self, rows: Indices) -> Batch:
        """The inputs of these rows by the names a network's forward takes.

        Where tokens have labels there is also `targets`, `[batch, time]`, int64: NO_UNIT at a place
        that is no unit, -1 at a unit without a label, else its label; less than -1 at a token of a
        rationale.
        """
        ...


#: What a label belongs to: a row; a word of a row; a token, whose label is the next token.
Unit = Literal["row", "word", "token"]
Targets = NDArray[Any]
NO_UNIT = -(1 << 30)  # no token of a rationale is labelled so, and it fits an int32


@dataclass(frozen=True, slots=True)
class Dataset:
    """Rows in the order of the file.

    `labels`, by problem: single_label `[rows]`, int64, -1 where a row has none; multi_label
    `[rows, classes]` and regression `[rows, 1]`, float32, NaN where a row has none.
    """

    path: Path
    fingerprint: str
    names: tuple[str, ...]  # of the classes, by id
    row_ids: Indices  # [rows]
    labels: Targets
    labelled: NDArray[np.bool_]  # [rows]
    splits: dict[str, Indices]  # positions of each split's rows, in the order of their row ids
    place: Indices  # [rows]: where a row stands within its split
    problem: Problem = "single_label"
    columns: dict[str, str] = field(default_factory=dict)  # of tables
    scale: tuple[float, float] = (0.0, 1.0)  # mean and deviation of training rows' numbers
    source: Indices | None = None  # rows of the file, where these rows are windows of them
    weights: NDArray[np.float32] | None = None  # [rows], 1 on average in training; None: all 1
    rationales: bool = False  # whether the reasons for an answer are learned, too

    def __len__(self) -> int:
        return len(self.row_ids)

    @property
    def outputs(self) -> int:
        """Numbers a network answers for a unit."""
        return 1 if self.problem == "regression" else len(self.names)


def of_rationale(tokens: Any) -> Any:
    """How a token of a rationale is labelled, so that no term takes it for a token of the answer;
    and the token that is labelled so."""
    return -2 - tokens


def open_dataset(
    folder: Path,
    described: DatasetInput,
    unit: Unit = "row",
    needs: Sequence[str] = ("train", "validation"),
) -> Dataset:
    """Rows, labels and splits of a job's dataset; `unit` is what a label belongs to, `needs` the
    splits that must have rows. Raises DataError when the file is not the one that was promised."""
    path = folder / described.path
    if not path.is_file():
        raise DataError("The dataset's file is missing from the job's folder.")
    if described.sha256:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != described.sha256:
            raise DataError("The dataset's file has changed since the run was launched.")
    try:
        table = pq.read_table(path, columns=["row_id", "split", "label"])
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"The dataset's file cannot be read as Parquet: {error}") from error
    row_ids = table["row_id"].to_numpy().astype(np.int64)
    written = table["label"].to_pylist()
    if unit == "row":
        labels, labelled = _labels(written, described)
    else:
        labels = np.full(len(written), -1, dtype=np.int64)
        labelled = np.array([unit == "token" or text is not None for text in written])
    split_of = np.array(table["split"].to_pylist())
    splits, place = {}, np.zeros(len(row_ids), dtype=np.int64)
    for split in SPLITS:
        members = np.flatnonzero(split_of == split).astype(np.int64)
        members = members[np.argsort(row_ids[members], kind="stable")]
        splits[split] = members
        place[members] = np.arange(len(members))
    for split in needs:
        if not len(splits[split]):
            raise DataError(f"The dataset has no {split} rows; make a version that has some.")
    scale = (0.0, 1.0)
    if described.problem == "regression":
        known = labels[splits["train"]]
        known = known[~np.isnan(known)].astype(np.float64)
        if len(known):
            scale = (float(known.mean()), float(max(known.std(), 1e-6)))
    return Dataset(
        path=path,
        fingerprint=described.fingerprint or described.sha256,
        names=described.labels,
        row_ids=row_ids,
        labels=labels,
        labelled=labelled,
        splits=splits,
        place=place,
        problem=described.problem,
        columns=dict(described.columns),
        scale=scale,
        weights=_weights(path, described.weight, splits["train"]) if described.weight else None,
    )


def _weights(path: Path, name: str, train: Indices) -> NDArray[np.float32] | None:
    """How much each row counts in training, 1 on average over training rows, so that a learning
    rate means the same; a row that does not say counts 1. None where all count the same. Raises
    DataError."""
    told = [one for piece in column(path, name) for one in piece]
    try:
        weights = np.array([1.0 if one is None else float(one) for one in told])
    except (TypeError, ValueError):
        sentence = f"The column {name} of weights holds something else than numbers."
        raise DataError(sentence) from None
    if not np.isfinite(weights).all() or (weights < 0).any():
        raise DataError(f"The column {name} of weights holds a negative or infinite number.")
    heard = weights[train]
    if not heard.any():
        raise DataError(f"All weights of training rows are 0: {name} leaves nothing to learn from.")
    if (heard == heard[0]).all():
        return None
    scaled: NDArray[np.float32] = (weights / heard.mean()).astype(np.float32)
    return scaled


def _labels(
    written: list[str | None], described: DatasetInput
) -> tuple[Targets, NDArray[np.bool_]]:
    """A file's labels as targets, and which rows have one. Raises DataError."""
    names = {name: place for place, name in enumerate(described.labels)}
    if described.problem == "embedding":
        return np.full(len(written), -1, dtype=np.int64), np.zeros(len(written), dtype=bool)
    if described.problem == "regression":
        numbers = np.full((len(written), 1), np.nan, dtype=np.float32)
        for row, text in enumerate(written):
            if text is not None:
                try:
                    numbers[row] = float(text)
                except ValueError:
                    raise DataError(f"The label of row {row} is no number: {text!r}.") from None
        return numbers, np.isfinite(numbers[:, 0])
    if described.problem == "multi_label":
        several = np.full((len(written), len(names)), np.nan, dtype=np.float32)
        for row, text in enumerate(written):
            if text is not None:
                parts = [part.strip() for part in text.split(described.separator)]
                several[row] = 0.0
                several[row, [names[part] for part in parts if part in names]] = 1.0
        return several, np.array([text is not None for text in written])
    labels = np.array([names.get(name or "", -1) for name in written], dtype=np.int64)
    return labels, labels >= 0


def column(path: Path, name: str, rows_at_once: int = 2000) -> Iterator[list[Any]]:
    """A column of the file in pieces, so that it is never whole in memory. Raises DataError."""
    file = pq.ParquetFile(path)
    if name not in file.schema_arrow.names:
        raise DataError(f"The dataset has no column {name!r}, which this task reads.")
    for group in range(file.num_row_groups):  # over all at once pyarrow keeps some of each
        for piece in file.iter_batches(rows_at_once, row_groups=[group], columns=[name]):
            yield piece.column(0).to_pylist()


def columns(path: Path, *names: str) -> Iterator[tuple[list[Any], ...]]:
    """Several columns side by side, in pieces. Raises DataError."""
    yield from zip(*(column(path, name) for name in names), strict=True)


def values(path: Path, name: str, rows: Indices) -> list[Any]:
    """A column's values of these rows only, in the order of `rows`."""
    wanted, start = set(rows.tolist()), 0
    found: dict[int, Any] = {}
    for piece in column(path, name):
        found |= {at: value for at, value in enumerate(piece, start) if at in wanted}
        start += len(piece)
    return [found[place] for place in rows.tolist()]


def prepared(home: Path, key: str, make: Callable[[Path], None]) -> Path:
    """The folder `home/key`, made once by `make(folder)`: it is there whole, or not at all."""
    folder = home / key
    if not (folder / "whole.json").exists():
        part = home / f".{key}.part"
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        (part / "whole.json").write_text(json.dumps({"format": 1}))
        part.rename(folder)
    return folder


class TextInputs:
    """Token ids of every row, end to end, in one memory-mapped array."""

    def __init__(self, folder: Path, pad: int = 0) -> None:
        # [tokens], int32; as a plain array: slicing a memmap costs ten times as much
        self.ids = np.load(folder / "ids.npy", mmap_mode="r").view(np.ndarray)
        self.offsets = np.load(folder / "offsets.npy")  # [rows + 1], int64
        self.lengths = np.diff(self.offsets)
        self.pad = pad

    def batch(self, rows: Indices) -> Batch:
        """input_ids and attention_mask, `[batch, longest]`, int64."""
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        places = np.arange(max(1, int(lengths.max())))
        inside = places < lengths[:, None]
        # beyond a row's end stand the next row's tokens, beyond the last row's the last one
        ids = self.ids.take(starts[:, None] + places, mode="clip")
        return {
            "input_ids": torch.from_numpy(np.where(inside, ids, np.int64(self.pad))),
            "attention_mask": torch.from_numpy(inside.astype(np.int64)),
        }


class ImageInputs:
    """Pixels of every row as bytes, memory-mapped; normalised when a batch is made."""

    lengths: None = None

    def __init__(self, folder: Path, mean: Sequence[float], std: Sequence[float]) -> None:
        pixels = np.load(folder / "pixels.npy", mmap_mode="r")
        self.pixels = pixels.view(np.ndarray)  # [rows, channels, height, width], uint8
        mean_, std_ = torch.tensor(mean), torch.tensor(std)
        self.scale = (1.0 / (255.0 * std_)).view(1, -1, 1, 1)
        self.shift = (-mean_ / std_).view(1, -1, 1, 1)

    def batch(self, rows: Indices) -> Batch:
        """pixel_values, `[batch, channels, height, width]`, float32."""
        pixels = torch.from_numpy(self.pixels[rows]).float()
        return {"pixel_values": torch.addcmul(self.shift, pixels, self.scale)}


def epoch_order(
    rows: Indices, lengths: NDArray[np.int64] | None, size: int, seed: int, epoch: int
) -> list[Indices]:
    """The batches of one epoch, `size` rows each but the last.

    Shuffled by (seed, epoch). Where lengths differ, rows of like length share a batch: within a
    pool of 50 batches they are sorted, then the batches are shuffled again.
    """
    chance = np.random.default_rng([seed, epoch])
    order = chance.permutation(rows)
    if lengths is None:
        return [order[start : start + size] for start in range(0, len(order), size)]
    batches: list[Indices] = []
    for start in range(0, len(order), size * POOL):
        pool = order[start : start + size * POOL]
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[place : place + size] for place in range(0, len(pool), size)]
    return [batches[place] for place in chance.permutation(len(batches))]


def alike(inputs: Inputs) -> NDArray[np.int64] | None:
    """By what rows are put into batches together: their lengths, unless the inputs know better."""
    found: NDArray[np.int64] | None = getattr(inputs, "alike", inputs.lengths)
    return found


def offsets(inputs: Inputs, rows: Indices) -> Indices:
    """`[len(rows) + 1]`: where each row's units begin among the units of all these rows."""
    units = getattr(inputs, "units", None)  # [rows of the dataset]; None: one each
    counts = np.ones(len(rows), dtype=np.int64) if units is None else units[rows]
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def places(starts: Indices, which: Indices) -> Indices:
    """The places of the units of some rows, row by row, from `offsets`."""
    if starts[-1] == len(starts) - 1:  # one unit a row
        return which
    spans = [np.arange(starts[one], starts[one + 1]) for one in which.tolist()]
    return np.concatenate(spans) if spans else np.empty(0, dtype=np.int64)


def steady_order(rows: Indices, lengths: NDArray[np.int64] | None, size: int) -> list[Indices]:
    """Batches of at most `size` for asking, not training: as they come, or by length where lengths
    differ, and cut where padding would be more than a quarter of a row."""
    if lengths is None:
        return [rows[start : start + size] for start in range(0, len(rows), size)]
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    rising = lengths[rows]
    batches, start = [], 0
    while start < len(rows):
        alike = int(np.searchsorted(rising, UNEVEN * rising[start], side="right"))
        stop = min(start + size, max(alike, start + FEWEST))
        batches.append(rows[start:stop])
        start = stop
    return batches
