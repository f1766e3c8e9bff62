"""A teacher that is nothing but what it said: probabilities, or labels, in columns of the dataset.

Nobody is asked: the file holds the answers, row by row, whoever gave them. A network answers
logits; of probabilities p at temperature 1 the logarithms are logits of the very same softmax, at
any temperature, since softmax(log p / T) is p^(1/T), scaled to 1. What is lost is a constant of
each row, which no term but `logit_mse` sees.

- One label: a row's probabilities are scaled to sum to 1. One that is exactly 0 stands as LEAST, so
  that no usual temperature makes anything of it. A column of labels is sure of each.
- Several labels: each probability stands for itself, its logit within those of NEAREST.
- A row without an answer (all empty, or all 0) has NaN in the place of its logits: the terms that
  hear a teacher are silent about it (lesson.py), and it is no part of what is measured of one.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.engine import data
from training.engine.answers import Answer, Wanted
from training.engine.augmentation import View
from training.engine.data import Dataset, Indices
from training.engine.errors import DataError
from training.engine.losses import Loss

JSON = dict[str, Any]
LEAST = 1e-38  # that a probability of 0 stands for: about the least of a float32
NEAREST = 2.0**-25  # to 0 and to 1, of a label that is a yes or a no: float32 tells no nearer
PROBLEMS = ("single_label", "multi_label")
AT_ONCE = 2000  # rows read together


class Recorded:
    """The answers of one teacher to a dataset's rows, in the dataset's order of labels."""

    def __init__(
        self,
        name: str,
        weight: float,
        recorded: Mapping[str, Any],
        dataset: Dataset,
        home: Path,
        separator: str = "|",
    ) -> None:
        """`recorded` is {"probabilities": {label: column}} or {"label": column}; `home` the folder
        of prepared inputs. Raises DataError where the columns do not hold that."""
        if dataset.problem not in PROBLEMS:
            raise DataError(f"{name} is recorded labels, and this dataset has none.")
        self.name, self.weight, self.dataset = name, weight, dataset
        said = json.dumps([dataset.fingerprint, list(dataset.names), dict(recorded)])
        key = f"recorded-{hashlib.sha256(said.encode()).hexdigest()[:16]}"

        def make(folder: Path) -> None:
            pieces = list(_logits(name, recorded, dataset, separator))
            whole = np.concatenate([one for one, _ in pieces])
            np.save(folder / "logits.npy", whole)
            told = {"zeros": sum(zeros for _, zeros in pieces)}
            (folder / "told.json").write_text(json.dumps(told))

        folder = data.prepared(home, key, make)
        #: [rows of the file, classes], float32; NaN where it said nothing.
        self.said = np.load(folder / "logits.npy", mmap_mode="r").view(np.ndarray)
        self.spoken: NDArray[np.bool_] = ~np.isnan(self.said[:, 0])  # [rows]
        self.zeros = int(json.loads((folder / "told.json").read_text())["zeros"])

    def logits(self, rows: Indices) -> Tensor:
        """`[len(rows), classes]`, float32; NaN in rows of which it said nothing."""
        return torch.from_numpy(self.said[rows])

    def answer(
        self,
        rows: Indices,
        split: str,
        wanted: Wanted,
        batch: data.Batch | None = None,
        *,
        view: View | None = None,
        reads: Iterable[str] = (),
    ) -> Answer:
        """As a network's (teacher_outputs.Teacher). What it said of a row holds for each view."""
        return Answer(self.logits(rows))

    def counted(self, split: str) -> tuple[int, int]:
        """Rows of a split that it spoke of, and all."""
        rows = self.dataset.splits[split]
        return int(self.spoken[rows].sum()), len(rows)

    def refusal(self, loss: Loss) -> str:
        """Why a term cannot learn from it; empty where it can."""
        if not loss.needs_teacher:
            return ""
        if loss.wants:
            return (
                f"{loss.label} compares layers, and {self.name} is recorded answers, without any. "
                "Take a term that compares answers."
            )
        if loss.of_logits and self.zeros:
            return (
                f"{loss.label} compares the size of logits, and {self.zeros:,} probabilities of "
                f"{self.name} are exactly 0, which have none. Take soft targets."
            )
        return ""


def spoke(logits: NDArray[Any]) -> NDArray[np.bool_]:
    """`[rows]`: where a teacher said something."""
    there: NDArray[np.bool_] = ~np.isnan(logits).any(axis=1)
    return there


def _logits(
    name: str, recorded: Mapping[str, Any], dataset: Dataset, separator: str
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Of some rows after the other, and how many of their probabilities are 0."""
    chances = recorded.get("probabilities")
    wanted = [recorded["label"]] if chances is None else [chances.get(one) for one in dataset.names]
    file = pq.ParquetFile(dataset.path)
    there = set(file.schema_arrow.names)
    for label, one in zip(dataset.names, wanted, strict=False):
        if one not in there:
            what = f"no column {one!r}" if one else f"no column of the probability of {label!r}"
            raise DataError(f"{name} is recorded in columns of a dataset; this one has {what}.")
    start = 0
    for group in range(file.num_row_groups):  # as data.column: over all at once pyarrow keeps some
        for piece in file.iter_batches(AT_ONCE, row_groups=[group], columns=list(set(wanted))):
            if chances is None:
                told = _of_labels(name, piece.column(0).to_pylist(), dataset, separator, start)
            else:
                told = np.column_stack([_numbers(piece.column(one), one) for one in wanted])
            several = dataset.problem == "multi_label"
            yield _of_several(told, start) if several else _of_one(told, start)
            start += len(piece)


def _numbers(column: pa.Array, name: str) -> NDArray[np.float64]:
    """NaN where it is empty."""
    try:
        values = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        sentence = f"The column {name} of probabilities holds something else than numbers."
        raise DataError(sentence) from None
    return np.asarray(values, dtype=np.float64)


def _of_labels(
    name: str, written: list[Any], dataset: Dataset, separator: str, start: int
) -> NDArray[np.float64]:
    """Labels that it was sure of, as probabilities."""
    places = {label: place for place, label in enumerate(dataset.names)}
    several = dataset.problem == "multi_label"
    told = np.full((len(written), len(places)), np.nan)
    for row, text in enumerate(written):
        if text is None or not str(text).strip():
            continue
        told[row] = 0.0
        for one in str(text).split(separator) if several else [str(text)]:
            if one.strip() not in places:
                raise DataError(
                    f"{name} said {one.strip()!r} of row {start + row}, which is none of the "
                    "dataset's labels."
                )
            told[row, places[one.strip()]] = 1.0
    return told


def _of_one(told: NDArray[np.float64], start: int) -> tuple[NDArray[np.float32], int]:
    told = np.where(np.isnan(told).all(axis=1, keepdims=True), 0.0, np.nan_to_num(told, posinf=-1))
    _refuse(told < 0, start, "negative or infinite")
    sums = told.sum(axis=1, keepdims=True)
    shares = told / np.where(sums > 0, sums, 1.0)
    logs = np.log(np.maximum(shares, LEAST)).astype(np.float32)
    logs[sums[:, 0] == 0] = np.nan
    return logs, int((told[sums[:, 0] > 0] == 0).sum())


def _of_several(told: NDArray[np.float64], start: int) -> tuple[NDArray[np.float32], int]:
    _refuse((told < 0) | (told > 1), start, "below 0 or above 1")
    near = np.clip(told, NEAREST, 1.0 - NEAREST)
    logits = (np.log(near) - np.log1p(-near)).astype(np.float32)
    logits[np.isnan(told).any(axis=1)] = np.nan
    return logits, 0


def _refuse(wrong: NDArray[np.bool_], start: int, how: str) -> None:
    if wrong.any():
        row = start + int(np.argwhere(wrong)[0, 0])
        raise DataError(f"A recorded probability of row {row} is {how}.")
