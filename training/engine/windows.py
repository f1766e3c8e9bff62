"""Texts as windows of tokens: the rows that networks which write are trained on."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from training.engine.chats import Form
from training.engine.data import NO_UNIT, Batch, Dataset, Indices, of_rationale
from training.engine.errors import DataError

WINDOW, FIRST, STOP, FRESH = 0, 1, 2, 3  # columns of `windows`
MOST_WINDOWS = 1 << 20  # of one row
SHOWN_PROMPT = 16  # tokens of plain text that a sample goes on from

Pair = tuple[list[int], list[int]]  # tokens of a prompt, and of its answer


class LanguageInputs:
    """Tokens of every row, end to end and memory-mapped, and the windows they are seen in.

    Its rows are windows: `divided` turns a dataset's rows into them.
    """

    def __init__(
        self,
        folder: Path,
        pad: int,
        end: int | None,
        digest: str,
        decode: Callable[[Sequence[int]], str],
    ) -> None:
        self.digest, self.decode = digest, decode  # of the preprocessing
        self.ids = np.load(folder / "ids.npy", mmap_mode="r").view(np.ndarray)  # [tokens]
        self.counts = np.load(folder / "counts.npy", mmap_mode="r").view(np.ndarray)
        self.letters = np.load(folder / "letters.npy", mmap_mode="r").view(np.ndarray)
        self.windows: Indices = np.load(folder / "windows.npy")  # [windows, 4]
        reasons = folder / "rationale.npy"  # those made before rationales have none
        self.rationale: NDArray[np.bool_] = (
            np.load(reasons) if reasons.exists() else np.zeros(len(self.windows), dtype=np.bool_)
        )
        self.form: Form = json.loads((folder / "form.json").read_text())["form"]
        self.pad, self.end = pad, end
        self.lengths = self.windows[:, STOP] - self.windows[:, FIRST] - 1
        self.alike = self.lengths
        if self.rationale.any():  # answers, which are short, and reasons must share their batches
            longest = np.zeros(int(self.windows[-1, WINDOW]) + 1, dtype=np.int64)
            np.maximum.at(longest, self.windows[:, WINDOW], self.lengths)
            self.alike = longest[self.windows[:, WINDOW]]
        self.units = self._summed(self.counts)
        self.characters = self._summed(self.letters * self.counts)

    def _summed(self, values: NDArray[Any]) -> Indices:
        """The sum of a token's values over each window's own answers, `[windows]`."""
        sums = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
        found: Indices = sums[self.windows[:, STOP]] - sums[self.windows[:, FRESH]]
        return found

    def divided(self, dataset: Dataset) -> Dataset:
        """The dataset whose rows are the windows of this one's; reasons are learned, not judged."""
        source = self.windows[:, WINDOW]
        begins = np.flatnonzero(np.diff(source, prepend=-1))
        number = np.arange(len(source)) - np.repeat(begins, np.diff([*begins, len(source)]))
        splits, place = {}, np.zeros(len(source), dtype=np.int64)
        row_ids = dataset.row_ids[source] * MOST_WINDOWS + number
        for split, rows in dataset.splits.items():
            there = np.isin(source, rows)
            if split != "train":
                there &= ~self.rationale
            members = np.flatnonzero(there).astype(np.int64)
            members = members[np.argsort(row_ids[members], kind="stable")]
            if split != "test" and not len(members):
                raise DataError(f"No {split} row has a token to learn: all are too short.")
            splits[split] = members
            place[members] = np.arange(len(members))
        return replace(
            dataset,
            row_ids=row_ids,
            labels=dataset.labels[source],
            labelled=dataset.labelled[source],
            splits=splits,
            place=place,
            source=source,
            weights=None if dataset.weights is None else dataset.weights[source],
        )

    def batch(self, rows: Indices) -> Batch:
        """input_ids, attention_mask (where lengths differ) and targets, `[batch, longest]`."""
        windows = self.windows[rows]
        longest = int(self.lengths[rows].max())
        ids = np.full((len(rows), longest), self.pad, dtype=np.int64)
        targets = np.full((len(rows), longest), NO_UNIT, dtype=np.int64)
        reasons = self.rationale[rows].tolist()
        for place, (_, first, stop, fresh) in enumerate(windows.tolist()):
            ids[place, : stop - first - 1] = self.ids[first : stop - 1]
            answers = self.ids[fresh:stop].astype(np.int64)
            if reasons[place]:
                answers = of_rationale(answers)
            answers[~self.counts[fresh:stop]] = NO_UNIT
            targets[place, fresh - first - 1 : stop - first - 1] = answers
        batch = {"input_ids": torch.from_numpy(ids), "targets": torch.from_numpy(targets)}
        lengths = self.lengths[rows]
        if int(lengths.min()) < longest:
            inside = np.arange(longest) < lengths[:, None]
            batch["attention_mask"] = torch.from_numpy(inside.astype(np.int64))
        return batch

    def prompts(self, rows: Indices, begin: int = SHOWN_PROMPT) -> list[Pair]:
        """Of each window: what comes before its first answer, and that answer. Of plain text, where
        everything is an answer, its first `begin` tokens (at most half), and the rest."""
        found = []
        for _, first, stop, fresh in self.windows[rows].tolist():
            if self.form == "text":
                split = first + max(1, min(begin, (stop - first) // 2))
                last = stop
            else:
                counted = np.flatnonzero(self.counts[fresh:stop])
                split = fresh + int(counted[0])
                after = np.flatnonzero(~self.counts[split:stop])
                last = split + int(after[0]) if len(after) else stop
            found.append((self.ids[first:split].tolist(), self.ids[split:last].tolist()))
        return found

    def assembled(self, pairs: Sequence[Pair], *, known: bool) -> Batch:
        """A batch of prompts and answers, of which the answers are units; `known` says whether
        their tokens are labels, or units whose label nobody knows."""
        longest = max(len(prompt) + len(answer) - 1 for prompt, answer in pairs)
        ids = np.full((len(pairs), longest), self.pad, dtype=np.int64)
        targets = np.full((len(pairs), longest), NO_UNIT, dtype=np.int64)
        inside = np.zeros((len(pairs), longest), dtype=np.int64)
        for place, (prompt, answer) in enumerate(pairs):
            whole = [*prompt, *answer]
            ids[place, : len(whole) - 1] = whole[:-1]
            inside[place, : len(whole) - 1] = 1
            targets[place, len(prompt) - 1 : len(whole) - 1] = answer if known else -1
        batch = {"input_ids": torch.from_numpy(ids), "targets": torch.from_numpy(targets)}
        if not inside.all():
            batch["attention_mask"] = torch.from_numpy(inside)
        return batch
