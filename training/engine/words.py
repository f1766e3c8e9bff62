"""Texts whose words have labels: token ids, and which token speaks for which word.

A row's `text` holds words with blanks between them, its `label` as many labels with blanks between
them. The first token of a word speaks for it, so that tokenizers which cut words differently answer
the same units.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from training.engine import data, tokenization
from training.engine.data import NO_UNIT, Batch, Dataset, Indices
from training.engine.errors import DataError
from training.engine.tokenization import TextPreprocessing, Wish

UNKNOWN = -1  # a word without a label


@dataclass(frozen=True, slots=True, kw_only=True)
class WordPreprocessing(TextPreprocessing):
    names: tuple[str, ...]  # of the labels, by id

    @property
    def digest(self) -> str:
        said = f"words {self.names} {self.max_length} {self.pad} {self.tokenizer.to_str()}"
        return hashlib.sha256(said.encode()).hexdigest()

    def as_dict(self) -> dict[str, Any]:
        return {"max_length": self.max_length, "pad": self.pad, "names": list(self.names)}

    def prepare(self, path: Path, home: Path) -> "WordInputs":
        """Every row of the dataset as tokens with their labels, made once in `home`. Raises
        DataError for a row whose words and labels differ in number, or that is cut off."""

        def make(folder: Path) -> None:
            ids: list[int] = []
            targets: list[int] = []
            lengths: list[int] = []
            units: list[int] = []
            numbers = {name: place for place, name in enumerate(self.names)}
            row = 0
            for piece in pq.ParquetFile(path).iter_batches(2000, columns=["text", "label"]):
                texts, labels = (column.to_pylist() for column in piece.columns)
                for text, label in zip(texts, labels, strict=True):
                    some, said = self.of_row(row, text or "", label, numbers)
                    ids += some
                    targets += said
                    lengths.append(len(some))
                    units.append(sum(one != NO_UNIT for one in said))
                    row += 1
            np.save(folder / "ids.npy", np.array(ids, dtype=np.int32))
            np.save(folder / "targets.npy", np.array(targets, dtype=np.int32))
            np.save(folder / "units.npy", np.array(units, dtype=np.int64))
            np.save(folder / "offsets.npy", np.concatenate([[0], np.cumsum(lengths)]).astype("i8"))

        return WordInputs(data.prepared(home, self.digest[:32], make), self.pad)

    def of_row(
        self, row: int, text: str, label: str | None, numbers: dict[str, int]
    ) -> tuple[list[int], list[int]]:
        """Token ids of a row, and for each its target."""
        words = text.split()
        labels: list[str | None] = [None] * len(words)
        if label is not None:
            labels = [*label.split()]
        if len(labels) != len(words):
            raise DataError(
                f"Row {row} has {len(words)} words and {len(labels)} labels; each word needs one."
            )
        encoded = self.tokenizer.encode(words or [""], is_pretokenized=True)
        targets: list[int] = []
        last: int | None = None
        for word in encoded.word_ids:
            known = NO_UNIT
            if word is not None and word != last and words:
                known = numbers.get(labels[word] or "", UNKNOWN)
                last = word
            targets.append(known)
        if words and sum(one != NO_UNIT for one in targets) != len(words):
            raise DataError(
                f"Row {row} has more than {self.max_length} tokens, so its last words would have "
                "no answer. Raise max_length, or cut the row into two."
            )
        return list(encoded.ids), targets


class WordInputs(data.TextInputs):
    """Token ids, and the label of each word at its first token."""

    by_word = True

    def __init__(self, folder: Path, pad: int = 0) -> None:
        super().__init__(folder, pad)
        self.targets = np.load(folder / "targets.npy", mmap_mode="r").view(np.ndarray)
        self.units = np.load(folder / "units.npy")  # [rows]: words of each

    def batch(self, rows: Indices) -> Batch:
        """input_ids, attention_mask and targets, `[batch, longest]`, int64."""
        batch = super().batch(rows)
        inside = batch["attention_mask"].bool()
        targets = torch.full(inside.shape, NO_UNIT, dtype=torch.int64)
        starts, ends = self.offsets[rows].tolist(), self.offsets[rows + 1].tolist()
        said = [self.targets[start:end] for start, end in zip(starts, ends, strict=True)]
        targets[inside] = torch.from_numpy(np.concatenate(said).astype(np.int64))
        return {**batch, "targets": targets}


def train(dataset: Dataset, wish: Wish) -> WordPreprocessing:
    """A tokenizer of the training rows' texts."""
    made = tokenization.train(dataset.path, dataset.splits["train"], wish)
    return WordPreprocessing(
        tokenizer=made.tokenizer, max_length=made.max_length, pad=made.pad, names=dataset.names
    )


def load(folder: Path, max_length: int, pad: int, names: tuple[str, ...]) -> WordPreprocessing:
    made = tokenization.load(folder, max_length, pad)
    return WordPreprocessing(tokenizer=made.tokenizer, max_length=max_length, pad=pad, names=names)
