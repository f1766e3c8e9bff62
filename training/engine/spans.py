"""Spans of words with one label, such as names of people: found again whole, or not at all.

Labels are tags of a span's begin, inside, end or a word alone: `B-`, `I-`, `E-` (or `L-`) and `S-`
(or `U-`), and `O` outside of all, read as conlleval and seqeval do: a tag that cannot follow the
one before it begins a span. Where labels are no such tags, each word that is not `O` is a span.
"""

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Values = NDArray[np.float64]
METRICS = ("span_f1", "span_precision", "span_recall")
OUTSIDE = "O"
_TAG = re.compile(r"([BIMELSU])-(.+)")
_ROLES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


@dataclass(frozen=True, slots=True)
class Spans:
    """Of some units: where each begins and ends (its last unit), and its type's number."""

    begins: Indices
    ends: Indices
    types: Indices

    def __len__(self) -> int:
        return len(self.begins)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a dataset's labels say of spans, by label id."""

    types: tuple[str, ...]
    type_of: Indices  # [labels]; -1 outside
    opens: NDArray[np.bool_]  # [labels]: begins a span whatever stands before
    closes: NDArray[np.bool_]  # [labels]: whatever follows begins another one

    @classmethod
    def of(cls, names: tuple[str, ...]) -> "Reading":
        said = [_TAG.fullmatch(name) for name in names]
        tagged = all(tag or name == OUTSIDE for tag, name in zip(said, names, strict=True))
        spelt = [
            ("", "") if name == OUTSIDE else _spelt(tag) if tagged and tag else ("S", name)
            for tag, name in zip(said, names, strict=True)
        ]
        types = tuple(sorted({kind for _, kind in spelt if kind}))
        places = {kind: place for place, kind in enumerate(types)}
        return cls(
            types,
            np.array([places.get(kind, -1) for _, kind in spelt], dtype=np.int64),
            np.array([role in ("B", "S") for role, _ in spelt], dtype=bool),
            np.array([role in ("E", "S") for role, _ in spelt], dtype=bool),
        )

    def spans(self, labels: Indices, starts: Indices) -> Spans:
        """Of units whose rows begin at `starts`; -1 is a unit outside of all spans."""
        if not len(labels):
            nothing = np.empty(0, dtype=np.int64)
            return Spans(nothing, nothing, nothing)
        known = labels >= 0
        kinds = np.where(known, self.type_of[labels], -1)
        inside = kinds >= 0
        opens, closes = self.opens[labels] & known, self.closes[labels] & known
        first = np.zeros(len(labels) + 1, dtype=bool)
        first[starts] = True
        before = np.concatenate([[-1], kinds[:-1]])
        closed = np.concatenate([[True], closes[:-1]])
        begin = inside & (first[:-1] | opens | closed | (before != kinds))
        after = np.concatenate([begin[1:] | ~inside[1:], [True]])
        begins = np.flatnonzero(begin)
        ends = np.flatnonzero(inside & (after | first[1:]))
        return Spans(begins, ends, kinds[begins])


def is_tag(name: str) -> bool:
    """Whether it is spelt as a tag of spans is, or stands outside of all."""
    return name == OUTSIDE or _TAG.fullmatch(name) is not None


def _spelt(tag: "re.Match[str]") -> tuple[str, str]:
    return _ROLES[tag[1]], tag[2]


def score(
    said: Indices, truth: Indices, starts: Indices, names: tuple[str, ...]
) -> dict[str, float]:
    """span_precision, span_recall and span_f1 over all types; a span is right where its first word,
    its last word and its type are. `said` and `truth` are label ids, `[units]`; a unit whose label
    is not known (-1) is outside of spans in both. 0 where there is nothing to divide by, as
    seqeval's."""
    right, answered, true = _counts(said, truth, starts, Reading.of(names))
    precision, recall, f1 = _rates(right.sum(), answered.sum(), true.sum())
    return {"span_f1": float(f1), "span_precision": float(precision), "span_recall": float(recall)}


def per_type(
    said: Indices, truth: Indices, starts: Indices, names: tuple[str, ...]
) -> list[dict[str, Any]]:
    """The same of each type, with how many spans are true."""
    reading = Reading.of(names)
    counts = _counts(said, truth, starts, reading)
    precision, recall, f1 = _rates(*counts)
    return [
        {
            "label": name,
            "spans": int(counts[2][place]),
            "precision": float(precision[place]),
            "recall": float(recall[place]),
            "f1": float(f1[place]),
        }
        for place, name in enumerate(reading.types)
    ]


def _counts(
    said: Indices, truth: Indices, starts: Indices, reading: Reading
) -> tuple[Indices, Indices, Indices]:
    """`[types]` each: spans that are right, answered, true."""
    answered = reading.spans(np.where(truth >= 0, said, -1), starts)
    true = reading.spans(truth, starts)
    _, ours, theirs = np.intersect1d(
        answered.begins, true.begins, assume_unique=True, return_indices=True
    )
    same = (answered.ends[ours] == true.ends[theirs]) & (answered.types[ours] == true.types[theirs])
    many = len(reading.types)
    right, said_, there = (
        np.bincount(kinds, minlength=many).astype(np.int64)
        for kinds in (true.types[theirs[same]], answered.types, true.types)
    )
    return right, said_, there


def _rates(right: Any, answered: Any, true: Any) -> tuple[Any, Any, Any]:
    precision = right / np.maximum(answered, 1)
    recall = right / np.maximum(true, 1)
    return precision, recall, 2 * right / np.maximum(answered + true, 1)
