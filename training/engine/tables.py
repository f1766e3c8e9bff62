"""Tables to numbers: columns of numbers standardised, columns of words as ids.

Everything is learned from the training rows alone. A number becomes (x - mean) / deviation, no
further than 10 deviations away; a missing one becomes 0, the mean, and where training rows lack it,
too, an indicator beside it becomes 1. A word becomes its id: 0 for one that is unknown or was seen
once only, 1 for a missing one, then the known ones, the most frequent first.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from training.engine import data
from training.engine.data import Batch, Indices
from training.engine.errors import DataError

NUMERIC, CATEGORICAL = "numeric", "categorical"
RESERVED = {"row_id", "split", "label", "source", "text", "image", "audio"}
UNKNOWN, MISSING, FIRST = 0, 1, 2  # ids of words
FAR = 10.0  # deviations: what lies beyond, lies there
ONCE = 1  # rows: a word that no other row shares says nothing, and teaches what unknown means
ROWS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How an architecture wants its columns: the most different words of one."""

    most: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePreprocessing:
    numeric: tuple[str, ...]  # columns of numbers
    mean: tuple[float, ...]
    std: tuple[float, ...]
    lacking: tuple[bool, ...]  # which of them have an indicator
    categorical: tuple[str, ...]  # columns of words
    words: tuple[tuple[str, ...], ...]  # of each, by id - 2

    @property
    def numbers(self) -> int:
        """Numbers of a row: the columns', then the indicators."""
        return len(self.numeric) + sum(self.lacking)

    @property
    def categories(self) -> tuple[int, ...]:
        """Ids that each column of words may have."""
        return tuple(FIRST + len(one) for one in self.words)

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.as_dict()).encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def save(self, folder: Path) -> None:
        """Nothing beside `distillhub.json`, which holds it all."""

    def prepare(self, path: Path, home: Path) -> "TableInputs":
        """Every row of the dataset as numbers and ids, once in `home`."""

        def make(folder: Path) -> None:
            rows = pq.ParquetFile(path).metadata.num_rows
            shapes = {"numbers": (rows, self.numbers), "categories": (rows, len(self.words))}
            kinds: dict[str, type] = {"numbers": np.float32, "categories": np.int32}
            kept = {name: np.zeros(shape, dtype=kinds[name]) for name, shape in shapes.items()}
            start = 0
            for piece in _pieces(path, (*self.numeric, *self.categorical)):
                here = slice(start, start + piece.num_rows)
                kept["numbers"][here], kept["categories"][here] = self.read(piece)
                start += piece.num_rows
            for name, array in kept.items():
                np.save(folder / f"{name}.npy", array)

        return TableInputs(data.prepared(home, self.digest[:32], make))

    def read(self, piece: pa.RecordBatch) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """Some rows as `[rows, numbers]` and `[rows, columns]` of ids."""
        return self._numbers(piece), self._categories(piece)

    def _numbers(self, piece: pa.RecordBatch) -> NDArray[np.float32]:
        """`[rows, numbers]`"""
        if not self.numeric:
            return np.zeros((piece.num_rows, 0), dtype=np.float32)
        plain = np.stack([numbers(piece.column(name)) for name in self.numeric], axis=1)
        absent = np.isnan(plain)
        away = (plain - np.array(self.mean)) / np.array(self.std)
        standard = np.where(absent, 0.0, np.clip(away, -FAR, FAR))
        indicators = absent[:, np.array(self.lacking, dtype=bool)]
        return np.concatenate([standard, indicators], axis=1).astype(np.float32)

    def _categories(self, piece: pa.RecordBatch) -> NDArray[np.int32]:
        """`[rows, columns]`"""
        ids = np.zeros((piece.num_rows, len(self.words)), dtype=np.int32)
        for place, (name, known) in enumerate(zip(self.categorical, self.words, strict=True)):
            number: dict[str | None, int] = {word: FIRST + at for at, word in enumerate(known)}
            number[None] = MISSING
            ids[:, place] = [number.get(word, UNKNOWN) for word in words(piece.column(name))]
        return ids


class TableInputs:
    """Numbers and ids of every row, memory-mapped."""

    lengths: None = None

    def __init__(self, folder: Path) -> None:
        self.numbers = _mapped(folder / "numbers.npy")  # [rows, numbers], float32
        self.categories = _mapped(folder / "categories.npy")  # [rows, columns of words], int32

    def batch(self, rows: Indices) -> Batch:
        """numbers, `[batch, numbers]`, float32; categories, `[batch, columns]`, int64. Of the two,
        what the table has."""
        batch: Batch = {}
        if self.numbers.shape[1]:
            batch["numbers"] = torch.from_numpy(self.numbers[rows])
        if self.categories.shape[1]:
            batch["categories"] = torch.from_numpy(self.categories[rows].astype(np.int64))
        return batch


def _mapped(path: Path) -> NDArray[Any]:
    """As a plain array, for the reason data.TextInputs gives; without columns nothing is mapped."""
    kept = np.load(path, mmap_mode="r")
    return kept.view(np.ndarray) if kept.size else np.zeros(kept.shape, dtype=kept.dtype)


def measure(
    path: Path, rows: Indices, columns: Mapping[str, str], wish: Wish
) -> TablePreprocessing:
    """Means, deviations and words of the training rows. `columns` says of each whether it is
    numeric or categorical; without any, every column of the file that has no other meaning is one
    or the other by its type. Raises DataError."""
    columns = columns or kinds(path)
    numeric = tuple(name for name, kind in columns.items() if kind == NUMERIC)
    categorical = tuple(name for name, kind in columns.items() if kind == CATEGORICAL)
    if not numeric and not categorical:
        raise DataError("The dataset has no column of numbers or words to learn from.")
    trained = np.zeros(pq.ParquetFile(path).metadata.num_rows, dtype=bool)
    trained[rows] = True
    moments = [Moments() for _ in numeric]
    lacking = np.zeros(len(numeric), dtype=bool)
    counts: list[Counter[str | None]] = [Counter() for _ in categorical]
    start = 0
    for piece in _pieces(path, (*numeric, *categorical)):
        here = trained[start : start + piece.num_rows]
        start += piece.num_rows
        for place, name in enumerate(numeric):
            plain = numbers(piece.column(name))[here]
            known = plain[~np.isnan(plain)]
            lacking[place] |= len(known) < len(plain)
            moments[place].meet(known)
        for name, counter in zip(categorical, counts, strict=True):
            counter.update(
                word
                for word, is_trained in zip(words(piece.column(name)), here, strict=True)
                if is_trained
            )
    return TablePreprocessing(
        numeric=numeric,
        mean=tuple(one.mean for one in moments),
        std=tuple(one.deviation for one in moments),
        lacking=tuple(bool(one) for one in lacking),
        categorical=categorical,
        words=tuple(_known(counter, wish.most) for counter in counts),
    )


class Moments:
    """Mean and deviation of numbers that come in pieces, without the loss of digits that sums of
    squares suffer (Chan, Golub, LeVeque: Algorithms for Computing the Sample Variance, 1983)."""

    def __init__(self) -> None:
        self.count, self.mean, self._away = 0, 0.0, 0.0

    def meet(self, numbers: NDArray[np.float64]) -> None:
        if not len(numbers):
            return
        count, mean = self.count + len(numbers), float(numbers.mean())
        apart = mean - self.mean
        self._away += float(((numbers - mean) ** 2).sum())
        self._away += apart**2 * self.count * len(numbers) / count
        self.mean += apart * len(numbers) / count
        self.count = count

    @property
    def deviation(self) -> float:
        """1 where all numbers are the same."""
        deviation = (self._away / max(1, self.count)) ** 0.5
        return deviation if deviation > 1e-9 * abs(self.mean) else 1.0


def load(said: dict[str, Any]) -> TablePreprocessing:
    """What `as_dict` said."""
    lists = {name: tuple(value) for name, value in said.items()}
    return TablePreprocessing(**{**lists, "words": tuple(tuple(one) for one in said["words"])})


def kinds(path: Path) -> dict[str, str]:
    """Of each column that has no other meaning, whether it holds numbers or words."""
    found = {}
    for field in pq.read_schema(path):
        if field.name not in RESERVED:
            number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
            found[field.name] = NUMERIC if number else CATEGORICAL
    return found


def numbers(column: pa.Array) -> NDArray[np.float64]:
    """`[rows]`, NaN where there is no number: nothing, infinity, or a word."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        plain = np.array([_number(word) for word in column.to_pylist()], dtype=np.float64)
    else:
        plain = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.isfinite(plain), plain, np.nan)


def words(column: pa.Array) -> list[str | None]:
    """Every value as a word, None where there is none."""
    values = column.to_pylist()
    return [None if value is None or value == "" else str(value) for value in values]


def _number(word: str | None) -> float:
    try:
        return float(word or "nan")
    except ValueError:
        return float("nan")


def _known(counter: Counter[str | None], most: int) -> tuple[str, ...]:
    """The most frequent first, equals in the order of the alphabet: whatever the rows' order."""
    found = [(word, rows) for word, rows in counter.items() if word is not None and rows > ONCE]
    found.sort(key=lambda one: (-one[1], one[0]))
    return tuple(word for word, _ in found[:most])


def _pieces(path: Path, columns: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(path)
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise DataError(f"The dataset has no column {missing[0]!r}, which the table's model reads.")
    yield from file.iter_batches(batch_size=ROWS_AT_ONCE, columns=list(columns))
