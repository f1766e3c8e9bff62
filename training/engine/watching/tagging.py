"""Answers word by word: a tag for each word of a text, as columns of parts hold them with blanks
between them, as datasets do.

A row's words are not independent of each other, so that whatever counts words keeps how much rows
differ (detectors/tallies.py). What is compared row by row: of each tag its share of a row's words
(`prediction.<tag>`, so that each has tests of its own, and all are corrected together), which tag a
row has beside those that are counted (`answered.other_labels`: the first one), the share of words
that are tagged at all (`answered.tagged`), and how many spans there are (`answered.spans`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.engine import spans
from training.engine.detectors.calibration import Believed
from training.engine.detectors.confidence import Sureness
from training.engine.detectors.estimated_accuracy import Confidences, Estimate
from training.engine.detectors.tallies import Tally
from training.engine.detectors.whose_fault import Faults
from training.engine.watching.label_sets import (
    MOST_LABELS,
    MOST_WORD,
    NONE,
    OF_LABEL,
    OTHERS,
)

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Said = Sequence[str | None]

SEPARATOR = " "
TAGGED, SPANS = "answered.tagged", "answered.spans"
UNKNOWN = -1


def tags_of(said: str | None) -> list[str]:
    """None of a row of which nothing is known."""
    return said.split(SEPARATOR) if said else []


@dataclass(frozen=True, slots=True)
class Words:
    """The words of all rows, side by side. `row` is that of each, `[words]`; so are `said`, `truth`
    and `taught` (the teacher's), numbers of names, -1 unknown; `names` are the labels, then others.
    Labels and answers of a teacher with another number of words than the answer are unknown:
    `misfit`, `[rows]`. `chances`, `[words, labels]`, NaN unknown; None where no row has any."""

    rows: int
    labels: int
    names: tuple[str, ...]
    row: Indices
    said: Indices
    truth: Indices
    taught: Indices
    misfit: NDArray[np.bool_]
    chances: Floats | None

    @classmethod
    def of(
        cls, said: Said, truth: Said, taught: Said, labels: Sequence[str], chances: Any = None
    ) -> Self:
        """Of columns of a table; `chances`, its column of probabilities, a list for each row."""
        places = {name: at for at, name in enumerate(labels)}
        answers = [tags_of(one) for one in said]
        lengths = np.array([len(one) for one in answers], dtype=np.int64)
        misfit = np.zeros(len(answers), dtype=bool)

        def numbers(others: Said) -> Indices:
            found: list[int] = []
            for at, (answer, other) in enumerate(zip(answers, others, strict=True)):
                tags = tags_of(other)
                if len(tags) == len(answer):
                    found += [places.setdefault(one, len(places)) for one in tags]
                else:
                    misfit[at] |= bool(tags) and bool(answer)
                    found += [UNKNOWN] * len(answer)
            return np.array(found, dtype=np.int64)

        own, true, teacher = numbers(said), numbers(truth), numbers(taught)
        return cls(
            rows=len(answers),
            labels=len(labels),
            names=tuple(places),
            row=np.repeat(np.arange(len(answers)), lengths),
            said=own,
            truth=true,
            taught=teacher,
            misfit=misfit,
            chances=_chances(chances, lengths, len(labels)),
        )

    # -- of rows -----------------------------------------------------------------------------------

    def by_row(self, values: Any = None, where: Any = None) -> Floats:
        """`[rows]`: sums over a row's words; of words alone where no values are given."""
        chosen = slice(None) if where is None else where
        weights = None if values is None else np.asarray(values, dtype=np.float64)[chosen]
        return np.bincount(self.row[chosen], weights, minlength=self.rows).astype(np.float64)

    def mean(self, values: Floats) -> Floats:
        """`[rows]`: of a row's words where it is known, NaN where it is of none."""
        known = np.isfinite(values)
        return _share(self.by_row(values, known), self.by_row(None, known))

    def alike(self, one: Indices, two: Indices) -> tuple[Floats, Floats]:
        """`[rows]` each: words of which both are known, and those of them that are the same."""
        known = (one >= 0) & (two >= 0)
        return self.by_row(one == two, known), self.by_row(None, known)

    def share(self, one: Indices, two: Indices) -> Floats:
        """`[rows]`: of the words of which both are known, those that are the same."""
        same, words = self.alike(one, two)
        return _share(same, words)

    def alike_spans(self, one: Indices, two: Indices) -> tuple[Floats, Floats]:
        """`[rows]` each, of rows of which both are known: twice the spans that are in both, and the
        spans of either added up. Their ratio over rows is F1."""
        known = (one >= 0) & (two >= 0)
        reading, place = self._reading()
        starts = np.searchsorted(self.row, np.arange(self.rows))
        mine, theirs = (
            reading.spans(np.where(known & (side >= 0), place[side], UNKNOWN), starts)
            for side in (one, two)
        )
        _, left, right = np.intersect1d(
            mine.begins, theirs.begins, assume_unique=True, return_indices=True
        )
        same = (mine.ends[left] == theirs.ends[right]) & (mine.types[left] == theirs.types[right])
        both = np.bincount(self.row[mine.begins[left[same]]], minlength=self.rows)
        either = np.bincount(self.row[mine.begins], minlength=self.rows)
        either = either + np.bincount(self.row[theirs.begins], minlength=self.rows)
        return both.astype(np.float64) * 2, either.astype(np.float64)

    def many_spans(self) -> Floats:
        """`[rows]`: spans of the answer, NaN of a row without one."""
        reading, place = self._reading()
        starts = np.searchsorted(self.row, np.arange(self.rows))
        found = reading.spans(place[self.said], starts) if len(self.said) else None
        many = np.zeros(self.rows)
        if found is not None:
            many += np.bincount(self.row[found.begins], minlength=self.rows)
        return np.where(self.by_row() > 0, many, np.nan)

    def _reading(self) -> tuple[spans.Reading, Indices]:
        """How names are read, and which of those that are each is: a name that is no tag among
        labels that are tags is outside of all spans."""
        tagged = all(map(spans.is_tag, self.names[: self.labels]))
        fitting = [
            at for at, name in enumerate(self.names) if not tagged or spans.is_tag(name)
        ]  # fmt: skip
        place = np.full(len(self.names), UNKNOWN, dtype=np.int64)
        place[fitting] = np.arange(len(fitting))
        return spans.Reading.of(tuple(self.names[at] for at in fitting)), place

    # -- what they add up to -----------------------------------------------------------------------

    def named(self) -> Mapping[str, int]:
        """Words by the tag they were given."""
        known = self.said[self.said >= 0]
        many = np.bincount(known, minlength=len(self.names))
        return {
            name[:MOST_WORD]: int(count)
            for name, count in zip(self.names, many.tolist(), strict=True)
            if count
        }

    def sureness(self) -> Sureness:
        """`[rows]`: in the mean of words."""
        if self.chances is None:
            nothing = np.full(self.rows, np.nan)
            return Sureness(nothing, nothing)
        found = Sureness.of(self.chances)
        return Sureness(self.mean(found.entropy), self.mean(found.top))

    def estimate(self, curve: Confidences) -> Estimate:
        """How likely each word is right."""
        if self.chances is None:
            return Estimate()
        known = np.isfinite(self.chances).all(axis=1) & self._is_label
        told = curve.right(self.chances[known], self.said[known])
        return Estimate.of_units(told, self.row[known])

    def believed(self, rows: NDArray[np.bool_]) -> Believed:
        """Of these rows, where their labels are known."""
        if self.chances is None or not len(self.row):
            return Believed()
        sure = self.chances[np.arange(len(self.row)), np.where(self._is_label, self.said, 0)]
        sure = np.where(self._is_label & rows[self.row], sure, np.nan)
        return Believed.of(sure, self._right(self.said), self.row)

    def faults(self, rows: NDArray[np.bool_]) -> Faults:
        """Of words whose label and teacher's answer are known."""
        there = rows[self.row] & (self.taught >= 0)
        student = np.where(there, self._right(self.said), np.nan)
        return Faults.of(student, self._right(self.taught), self.row)

    def tallies(
        self, labels: NDArray[np.bool_], answers: NDArray[np.bool_], weights: Floats
    ) -> dict[str, Tally]:
        """Of words and of spans, where labels and answers of the teacher are new: `[rows]`."""
        found: dict[str, Tally] = {}
        for other, rows, weigh, of_words, of_spans in (
            (self.truth, labels, None, "accuracy", "span_f1"),
            (self.taught, answers, weights, "agreement", "span_agreement"),
        ):
            held, words = self.alike(self.said, other)
            found[of_words] = Tally.of_units(held, np.where(rows, words, 0.0), weigh)
            both, either = self.alike_spans(self.said, other)
            found[of_spans] = Tally.of_units(both, np.where(rows, either, 0.0), weigh)
        if not self.has_spans:
            found = {name: found[name] for name in ("accuracy", "agreement")}
        return found

    @property
    def known_truth(self) -> Indices:
        """`[words]`: numbers of labels, -1 of others and of what is unknown."""
        return np.where(self.truth < self.labels, self.truth, UNKNOWN)

    @property
    def has_spans(self) -> bool:
        """Where words may be outside of all: what has a label anyway is no span."""
        return spans.OUTSIDE in self.names[: self.labels]

    @property
    def _is_label(self) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = (self.said >= 0) & (self.said < self.labels)
        return found

    def _right(self, answers: Indices) -> Floats:
        """`[words]`: 1 and 0, NaN unknown."""
        known = (answers >= 0) & (self.truth >= 0)
        return np.where(known, (answers == self.truth).astype(np.float64), np.nan)

    def counted(self, named: Iterable[str] | None) -> dict[str, Any]:
        """Signals, with their kinds. `named` are tags that are counted by name; None: those that
        are most frequent here, in the order of labels."""
        names, words = self.names, self.by_row()
        there = words > 0
        if named is None:
            many = Counter(self.named())
            ranked = sorted(names[: self.labels], key=lambda one: -many[one])[:MOST_LABELS]
            named = [one for one in names[: self.labels] if one in set(ranked)]
        known = list(named)
        places = {name: at for at, name in enumerate(names)}
        signals: dict[str, Any] = {}
        for name in known:
            own = self.by_row(self.said == places.get(name, len(names)))
            signals[f"{OF_LABEL}{name}"] = ("numbers", _share(own, words))
        beside = [NONE if one else None for one in there]
        counted = np.array([name in set(known) for name in names], dtype=bool)
        others = np.flatnonzero(~counted[self.said]).tolist() if len(self.said) else []
        for at in reversed(others):
            beside[int(self.row[at])] = names[int(self.said[at])][:MOST_WORD]
        signals[OTHERS] = ("categories", beside)
        if self.has_spans:
            outside = self.by_row(self.said == places[spans.OUTSIDE])
            signals[TAGGED] = ("numbers", 1.0 - _share(outside, words))
            signals[SPANS] = ("numbers", self.many_spans())
        return signals


def probabilities(rows: Sequence[Floats | None]) -> pa.Array:
    """A column of them: of each row `[words, labels]`, one word after the other."""
    flat = [None if one is None else one.astype(np.float32).ravel() for one in rows]
    return pa.array(flat, pa.list_(pa.float32()))


def _chances(column: Any, lengths: Indices, labels: int) -> Floats | None:
    """`[words, labels]`; rows whose number of probabilities is another are NaN."""
    if column is None or not labels or not len(lengths):
        return None
    flat = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    there = pc.fill_null(pc.list_value_length(flat), 0).to_numpy(zero_copy_only=False)
    good = (there == lengths * labels) & (lengths > 0)
    if not good.any():
        return None
    found = np.full((int(lengths.sum()), labels), np.nan)
    told = pc.fill_null(pc.cast(flat.filter(pa.array(good)).flatten(), pa.float64()), np.nan)
    found[np.repeat(good, lengths)] = told.to_numpy(zero_copy_only=False).reshape(-1, labels)
    return found


def _share(above: Floats, below: Floats) -> Floats:
    found: Floats = np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
    return found
