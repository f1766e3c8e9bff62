"""Two answers to one prompt, the better and the worse, as tokens that one network reads."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from training.engine import chats, data
from training.engine.data import NO_UNIT, Batch, of_rationale
from training.engine.errors import DataError
from training.engine.language import LanguagePreprocessing

REJECTED = "rejected"  # the column of answers that are worse than the row's text


@dataclass(frozen=True, slots=True)
class Sided:
    """Tokens, and which of them are an answer's."""

    ids: NDArray[np.int32]
    counts: NDArray[np.bool_]


Pair = tuple[Sided, Sided]  # chosen, rejected


def read(path: Path, said: LanguagePreprocessing) -> list[Pair | None]:
    """The pair of every row of the file, in its order; None where there is no other answer, or none
    that fits the network's window. Raises DataError."""
    schema = pq.ParquetFile(path).schema_arrow.names
    if REJECTED not in schema:
        raise DataError(f"The dataset has no column {REJECTED}: nothing was preferred to anything.")
    form = chats.form_of(path)
    columns = ("prompt", "text", REJECTED) if form == "completion" else ("text", REJECTED)
    found: list[Pair | None] = []
    for piece in data.columns(path, *columns):
        for values in zip(*piece, strict=True):
            *prompt, better, worse = values
            if not (better and better.strip() and worse and worse.strip()):
                found.append(None)
                continue
            if form == "chat":
                row = len(found)
                both = tuple(_chat(said, one, row) for one in (better, worse))
            else:
                asked = said.prompt(prompt[0] or "") if prompt else _begun(said)
                both = tuple(_answered(said, asked, one) for one in (better, worse))
            found.append(_fitting(both[0], both[1], said))
    return found


def _chat(said: LanguagePreprocessing, text: str, row: int) -> Sided:
    told = said.chat(chats.read(text, row))
    return Sided(np.asarray(told.ids, np.int32), np.asarray(told.counts, np.bool_))


def _begun(said: LanguagePreprocessing) -> list[int]:
    """What plain text stands after, so that its first token is told, too."""
    for token in (said.start, said.end):
        if token is not None:
            return [token]
    return []


def _answered(said: LanguagePreprocessing, asked: list[int], text: str) -> Sided:
    answer = said.answer(text, ended=True)
    counts = np.zeros(len(asked) + len(answer), dtype=np.bool_)
    counts[max(1, len(asked)) :] = True
    return Sided(np.asarray([*asked, *answer], np.int32), counts)


def _fitting(better: Sided, worse: Sided, said: LanguagePreprocessing) -> Pair | None:
    """Both within the window: what they begin with alike loses its beginning, and then they lose
    their ends. None where nothing of an answer is left."""
    room = said.max_length + 1
    shorter = min(len(better.ids), len(worse.ids))
    apart = np.flatnonzero(better.ids[:shorter] != worse.ids[:shorter])
    alike = int(apart[0]) if len(apart) else shorter
    first = int(np.flatnonzero(better.counts)[0]) if better.counts.any() else 0
    over = max(len(better.ids), len(worse.ids)) - room
    cut = max(0, min(over, min(alike, first) - 1))
    pair = tuple(
        Sided(one.ids[cut : cut + room], one.counts[cut : cut + room]) for one in (better, worse)
    )
    if not all(one.counts[1:].any() for one in pair):
        return None
    return pair[0], pair[1]


def batch(pairs: Sequence[Pair], pad: int) -> Batch:
    """input_ids, attention_mask (where lengths differ) and targets, `[2 * pairs, longest]`: each
    chosen answer with the rejected one below it, whose tokens are labelled as a rationale's are."""
    rows = list(_rows(pairs))
    longest = max(len(one.ids) for one, _ in rows) - 1
    ids = np.full((len(rows), longest), pad, dtype=np.int64)
    targets = np.full((len(rows), longest), NO_UNIT, dtype=np.int64)
    inside = np.zeros((len(rows), longest), dtype=np.int64)
    for place, (one, is_rejected) in enumerate(rows):
        size = len(one.ids) - 1
        ids[place, :size] = one.ids[:-1]
        inside[place, :size] = 1
        tokens = one.ids[1:].astype(np.int64)
        labels = of_rationale(tokens) if is_rejected else tokens
        targets[place, :size] = np.where(one.counts[1:], labels, NO_UNIT)
    found = {"input_ids": torch.from_numpy(ids), "targets": torch.from_numpy(targets)}
    if not inside.all():
        found["attention_mask"] = torch.from_numpy(inside)
    return found


def _rows(pairs: Sequence[Pair]) -> Iterator[tuple[Sided, bool]]:
    for better, worse in pairs:
        yield better, False
        yield worse, True
