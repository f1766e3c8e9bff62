"""Rows of a table to a window's sums."""

import functools
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from training.engine import cells
from training.engine.detectors.calibration import Believed
from training.engine.detectors.confidence import Sureness
from training.engine.detectors.estimated_accuracy import Estimate
from training.engine.detectors.tallies import Tally
from training.engine.detectors.whose_fault import Faults
from training.engine.sketches.packing import first
from training.engine.sketches.quantiles import Quantiles
from training.engine.watching import (
    conditions,
    describing,
    label_sets,
    neighbours,
    tagging,
    written,
)
from training.engine.watching.baseline import Baseline
from training.engine.watching.distinct import Distinct
from training.engine.watching.windows import MOST_SAMPLED, Errors, Latency, Overlap, Sums, farthest

JSON = dict[str, Any]
Floats = NDArray[np.float64]
Named = tuple[str, Any]  # a kind of bins, and values

WRITTEN = (written.TASK, neighbours.TASK)  # tasks whose answers are not counted by name
CONTENTS = ("text", "cells", "blob")  # columns of which one holds a row's input
MOST_PLACED = 10_000  # rows of a look that are held against each of the reference's


@dataclass(frozen=True)
class View:
    """Columns of a table as they are counted; None where it has no such column."""

    table: pa.Table
    baseline: Baseline
    ids: list[str]
    times: Floats  # seconds since 1970, NaN unknown
    predicted: list[str | None]
    numbers: Floats | None
    probabilities: Floats | None  # [rows, labels]
    vectors: NDArray[np.float32] | None
    latency: Floats | None
    truth: NDArray[np.int64]  # number of the label's class, -1 unknown
    right: Floats  # 1 and 0, or the share of its words, NaN unknown
    teacher_right: Floats
    agrees: Floats
    alike: dict[str, Floats]  # how much of an answer is as the label, as the teacher's; NaN unknown
    error: Floats | None  # of numbers |predicted - label|, of texts 1 - alike; NaN unknown
    difference: Floats | None  # likewise, from the teacher's
    shares: Floats  # of rows that the teacher was asked about, NaN where it was not
    log_probability: Floats | None  # of a written answer's tokens, in the mean
    words: tagging.Words | None = None  # where each word has an answer

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def of(cls, table: pa.Table, baseline: Baseline) -> "View":
        rows = table.num_rows
        nothing = np.full(rows, math.nan)
        predicted, label = _texts(table, "prediction"), _texts(table, "label")
        teacher = _texts(table, "teacher_prediction")
        numbers = _numbers(table, "number") if "number" in table.column_names else None
        places = {name: at for at, name in enumerate(baseline.labels)}
        error = difference = None
        if baseline.says_numbers:
            if numbers is None:
                numbers = np.array([cells.number(one) for one in predicted])
            truth = np.array([cells.number(one) for one in label], dtype=np.float64)
            error = np.abs(numbers - truth) if rows else nothing
            taught = np.array([cells.number(one) for one in teacher], dtype=np.float64)
            difference = np.abs(numbers - taught) if rows else nothing
            right = agrees = teacher_right = nothing
        else:
            right, agrees = _same(predicted, label), _same(predicted, teacher)
            teacher_right = _same(teacher, label)
            if baseline.task == neighbours.TASK:
                agrees = neighbours.agree(predicted, teacher)
                right = teacher_right = nothing  # labels that a dataset has besides are no vectors
        words = None
        if baseline.by_word:
            chances = table["probabilities"] if "probabilities" in table.column_names else None
            words = tagging.Words.of(predicted, label, teacher, baseline.labels, chances)
            right, agrees = (
                words.share(words.said, words.truth),
                words.share(words.said, words.taught),
            )
            teacher_right = words.share(words.taught, words.truth)
        alike = {}
        if baseline.several:
            alike["accuracy"] = label_sets.alike(predicted, label)
            alike["agreement"] = label_sets.alike(predicted, teacher)
            counted = label_sets.named(baseline.bins)
            each = label_sets.alike_by_label(predicted, teacher, counted or ())
            alike |= {f"{label_sets.AGREED}{label}": one for label, one in each.items()}
        surely = None
        if baseline.task == written.TASK:
            right, agrees = (_numbers(table, name) for name in ("label_same", "teacher_same"))
            teacher_right = nothing  # two texts that are not the same may both be right
            alike["accuracy"] = _numbers(table, "label_alike")
            alike["agreement"] = _numbers(table, "teacher_alike")
            error, difference = 1 - alike["accuracy"], 1 - alike["agreement"]
            if "log_probability" in table.column_names:
                surely = _numbers(table, "log_probability")
        asked = np.array([one is not None for one in teacher], dtype=bool)
        shares = _numbers(table, "teacher_share")
        shares = np.where(asked, np.where(np.isfinite(shares), shares, 1.0), math.nan)
        return cls(
            table=table,
            baseline=baseline,
            ids=table["id"].to_pylist() if rows else [],
            times=_times(table),
            predicted=predicted,
            numbers=numbers,
            probabilities=None if words else _probabilities(table, len(baseline.labels)),
            vectors=_vectors(table),
            latency=_numbers(table, "latency_ms") if "latency_ms" in table.column_names else None,
            truth=np.array([places.get(one or "", -1) for one in label], dtype=np.int64),
            right=right,
            teacher_right=teacher_right,
            agrees=agrees,
            alike=alike,
            error=error,
            difference=difference,
            shares=shares,
            log_probability=surely,
            words=words,
        )

    @property
    def chosen(self) -> NDArray[np.int64]:
        """`[rows]`: number of the predicted class; -1 of one that is no label."""
        places = {name: at for at, name in enumerate(self.baseline.labels)}
        return np.array([places.get(one or "", -1) for one in self.predicted], dtype=np.int64)

    @property
    def is_sure(self) -> bool:
        """Whether it is known how sure the student was."""
        told = self.probabilities if self.words is None else self.words.chances
        return told is not None or self.log_probability is not None

    def sureness(self) -> Sureness:
        """How sure the student was of each row; NaN without probabilities. Of a text, of a token in
        the mean: minus its log probability, and the probability that this is."""
        if self.words is not None:
            return self.words.sureness()
        if self.log_probability is not None:
            return Sureness(-self.log_probability, np.exp(self.log_probability))
        if self.probabilities is None:
            nothing = np.full(len(self), math.nan)
            return Sureness(nothing, nothing)
        of = Sureness.of_sets if self.baseline.several else Sureness.of
        return of(self.probabilities)

    def signals(self) -> dict[str, Named]:
        """Values of each signal that has bins, with their kind."""
        found = self.answers()
        if self.baseline.several:
            known = label_sets.named(self.baseline.bins)
            found |= label_sets.counted(self.predicted, self.baseline.labels, known)
        if self.words is not None:
            found |= self.words.counted(label_sets.named(self.baseline.bins))
        for name, values in self._described.items():
            found[name] = _named(values)
        if self.vectors is not None:
            found["vector"] = ("embeddings", self.vectors)
        return found

    def answers(self) -> dict[str, Named]:
        """Those of them that slices have, too."""
        found: dict[str, Named] = {}
        if self.baseline.says_numbers and self.numbers is not None:
            found["prediction"] = ("numbers", self.numbers)
        elif self.baseline.task not in WRITTEN and not self.baseline.several and self.words is None:
            names = [None if one is None else one[: describing.MOST_WORD] for one in self.predicted]
            found["prediction"] = ("categories", names)
        if self.baseline.task == written.TASK:
            told = self._described.items()
            found |= {name: _named(one) for name, one in told if name.startswith(written.ANSWERED)}
        return found

    @functools.cached_property
    def _described(self) -> dict[str, Any]:
        """Cells are read once, however many slices ask for them."""
        found: dict[str, Any] = {}
        for name in self.table.column_names:
            if name.startswith((describing.DESCRIBED, describing.INPUT, written.ANSWERED)):
                column = self.table[name]
                texts = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
                found[name] = column.to_pylist() if texts else _numbers(self.table, name)
        if self.baseline.columns and "cells" in self.table.column_names:
            rows = cells_of(self.table)
            found |= describing.describe("columns", rows, columns=self.baseline.columns)
        return found

    def take(self, mask: NDArray[np.bool_]) -> "View":
        return View.of(self.table.filter(pa.array(mask)), self.baseline)


def _named(values: Any) -> Named:
    return ("categories" if isinstance(values, list) else "numbers", values)


def count(view: View, baseline: Baseline, *, within_slice: bool = False) -> Sums:
    """Of rows that are new."""
    rows, key = len(view), baseline.key if baseline.bins else ""
    kept: JSON = {}
    values_of = view.answers() if within_slice else view.signals()
    for name, (_, values) in values_of.items():
        if name in baseline.bins:
            bins = baseline.bins[name]
            kept[name] = bins.sketch(values, view.ids) if name == "vector" else bins.sketch(values)
    if view.is_sure and "confidence.top" in baseline.bins:
        for name, values in view.sureness()._asdict().items():
            kept[f"confidence.{name}"] = baseline.bins[f"confidence.{name}"].sketch(values)
    estimate = Estimate()
    if baseline.curve is not None and view.words is not None:
        estimate = view.words.estimate(baseline.curve)
    elif baseline.curve is not None and view.probabilities is not None:
        known = (view.chosen >= 0) & np.isfinite(view.probabilities).all(axis=1)
        told = baseline.curve.right(view.probabilities[known], view.chosen[known])
        estimate = Estimate.of(told)
    times = view.times[np.isfinite(view.times)]
    sums = Sums(
        reference=key,
        rows=rows,
        counted=rows if key else 0,
        first_at=float(times.min()) if len(times) else None,
        last_at=float(times.max()) if len(times) else None,
        sketches=kept,
        estimate=estimate,
        latency=_latency(view),
        contents=Distinct() if within_slice else Distinct.of(_contents(view.table)),
        versions=_versions(view.table),
        named=view.words.named() if view.words is not None else {},
        foreign=() if within_slice else _foreign(view, baseline),
        sample=tuple(first(view.ids, MOST_SAMPLED)),
    )
    nothing = np.ones(rows, dtype=bool)
    sums = sums.merge(_said(view, baseline, nothing, nothing))
    return replace(sums, slices=_slices(view, baseline, None, None)) if not within_slice else sums


def later(view: View, baseline: Baseline) -> Sums:
    """Of rows that were counted before, what was said of them since: no row is counted again. The
    table has `label_is_new` and `answer_is_new`."""
    labels, answers = (_flags(view.table, name) for name in ("label_is_new", "answer_is_new"))
    sums = _said(view, baseline, labels, answers)
    return replace(sums, slices=_slices(view, baseline, labels, answers))


def _said(
    view: View, baseline: Baseline, labels: NDArray[np.bool_], answers: NDArray[np.bool_]
) -> Sums:
    """What labels and answers of the teacher add, where they are new."""
    right = np.where(labels, view.right, math.nan)
    agrees = np.where(answers, view.agrees, math.nan)
    with np.errstate(divide="ignore"):
        weights = 1 / view.shares
    tallies = {"accuracy": Tally.of(right), "agreement": Tally.of(agrees, weights)}
    if view.words is not None:
        tallies = view.words.tallies(labels, answers, weights)
    overlaps = {}
    for name, alike in view.alike.items():
        if name == "accuracy":
            overlaps[name] = Overlap.of(np.where(labels, alike, math.nan))
        else:
            overlaps[name] = Overlap.of(np.where(answers, alike, math.nan), weights)
    believed = Believed()
    if view.words is not None:
        believed = view.words.believed(labels)
    elif view.probabilities is not None and baseline.several and len(view):
        sure = label_sets.sure(view.predicted, baseline.labels, view.probabilities)
        believed = Believed.of(sure, right)
    elif view.probabilities is not None and len(view):
        chosen = view.chosen
        sure = view.probabilities[np.arange(len(view)), np.maximum(chosen, 0)]
        believed = Believed.of(np.where(chosen >= 0, sure, math.nan), right)
    both = labels | answers
    if view.words is not None:
        faults = view.words.faults(both)
    else:
        faults = Faults.of(
            np.where(both & np.isfinite(view.agrees), view.right, math.nan),
            np.where(both, view.teacher_right, math.nan),
        )
    errors, kept = Errors(), {}
    if view.error is not None:
        told = np.where(labels, view.error, math.nan)
        known = told[np.isfinite(told)]
        if baseline.says_numbers:
            errors = Errors(len(known), float(known.sum()), float(np.square(known).sum()))
        if "error" in baseline.bins and len(known):
            kept["error"] = baseline.bins["error"].sketch(known)
    if view.difference is not None and "difference" in baseline.bins:
        told = np.where(answers, view.difference, math.nan)
        if is_known(told):
            kept["difference"] = baseline.bins["difference"].sketch(told[np.isfinite(told)])
    return Sums(
        reference=baseline.key if kept else "",
        labelled=int((labels & _is_said(view, "label")).sum()),
        answered=int((answers & np.isfinite(view.shares)).sum()),
        sketches=kept,
        tallies={name: one for name, one in tallies.items() if one.rows},
        overlaps={name: one for name, one in overlaps.items() if one.rows},
        believed=believed,
        faults=faults,
        errors=errors,
        misfits=int((view.words.misfit & both).sum()) if view.words is not None else 0,
    )


def _slices(
    view: View,
    baseline: Baseline,
    labels: NDArray[np.bool_] | None,
    answers: NDArray[np.bool_] | None,
) -> dict[str, Sums]:
    found = {}
    for one in baseline.slices:
        mask = conditions.chosen(view, one["query"])
        part = view.take(mask)
        if labels is None or answers is None:
            found[one["name"]] = count(part, baseline, within_slice=True)
        else:
            found[one["name"]] = _said(part, baseline, labels[mask], answers[mask])
    return found


def by_window(table: pa.Table) -> Iterator[tuple[int, pa.Table]]:
    """(number, rows), numbers rising."""
    if not table.num_rows:
        return
    numbers = table["window"].to_numpy()
    for number in np.unique(numbers):
        yield int(number), table.filter(pa.array(numbers == number))


def cells_of(table: pa.Table) -> list[JSON | None]:
    """Of each row its columns; None where there are none."""
    if "cells" not in table.column_names:
        return [None] * table.num_rows
    return [json.loads(one) if one else None for one in table["cells"].to_pylist()]


def is_known(values: Any) -> bool:
    """Whether any value is one."""
    if isinstance(values, list):
        return any(one is not None for one in values)
    return bool(len(values)) and bool(np.isfinite(values).any())


# -- columns --------------------------------------------------------------------------------------


def _texts(table: pa.Table, name: str) -> list[str | None]:
    if name not in table.column_names:
        return [None] * table.num_rows
    found: list[str | None] = table[name].to_pylist()
    return found


def _numbers(table: pa.Table, name: str) -> Floats:
    if name not in table.column_names:
        return np.full(table.num_rows, math.nan)
    column = pc.cast(table[name], pa.float64())
    found: Floats = pc.fill_null(column, math.nan).to_numpy().astype(np.float64)
    return found


def _times(table: pa.Table) -> Floats:
    if "time" not in table.column_names or not table.num_rows:
        return np.full(table.num_rows, math.nan)
    column = table["time"]
    if pa.types.is_timestamp(column.type):
        column = pc.cast(pc.cast(column, pa.timestamp("us", column.type.tz)), pa.int64())
    found: Floats = pc.cast(column, pa.float64()).to_numpy() / 1e6
    return found


def _flags(table: pa.Table, name: str) -> NDArray[np.bool_]:
    found: NDArray[np.bool_] = np.array([bool(one) for one in table[name].to_pylist()], dtype=bool)
    return found


def _is_said(view: View, name: str) -> NDArray[np.bool_]:
    return np.array([one is not None for one in _texts(view.table, name)], dtype=bool)


def _probabilities(table: pa.Table, labels: int) -> Floats | None:
    """Rows whose number of probabilities is another are NaN; None where no row has any."""
    if "probabilities" not in table.column_names or labels == 0 or not table.num_rows:
        return None
    column = table["probabilities"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    good = lengths == labels
    if not good.any():
        return None
    found = np.full((table.num_rows, labels), math.nan)
    flat = column.filter(pa.array(good)).flatten()
    found[good] = pc.fill_null(pc.cast(flat, pa.float64()), math.nan).to_numpy().reshape(-1, labels)
    return found


def _vectors(table: pa.Table) -> NDArray[np.float32] | None:
    """`[rows, width]`, NaN where a row has none, or one of another width than most."""
    if "vector" not in table.column_names or not table.num_rows:
        return None
    column = table["vector"].combine_chunks()
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    there = lengths[lengths > 0]
    if not len(there):
        return None
    width = int(np.bincount(there.astype(np.int64)).argmax())
    good = lengths == width
    found = np.full((table.num_rows, width), math.nan, dtype=np.float32)
    flat = column.filter(pa.array(good)).flatten().to_numpy(zero_copy_only=False)
    found[good] = flat.astype(np.float32).reshape(-1, width)
    return found


def _same(one: Sequence[str | None], two: Sequence[str | None]) -> Floats:
    return np.array(
        [
            math.nan if left is None or right is None else float(left == right)
            for left, right in zip(one, two, strict=True)
        ],
        dtype=np.float64,
    )


def _latency(view: View) -> Latency:
    if view.latency is None:
        return Latency()
    known = view.latency[np.isfinite(view.latency) & (view.latency >= 0)]
    return Latency(float(known.sum()), Quantiles.of(known, 0.0, 1.0)) if len(known) else Latency()


def _versions(table: pa.Table) -> dict[str, int]:
    return dict(Counter(one for one in _texts(table, "version") if one))


def _contents(table: pa.Table) -> Iterator[bytes]:
    """Of the column that holds inputs; parts have the others, too, and nothing in them."""
    for name in CONTENTS:
        if name in table.column_names and table[name].null_count < len(table):
            for one in table[name].to_pylist():
                if one is not None:
                    yield one.encode("utf-8", "surrogatepass")
            return


def _foreign(view: View, baseline: Baseline) -> tuple[tuple[float, str], ...]:
    """Rows that stand farthest from the nearest of the reference's; of many rows, among some by
    chance. From its centre, where none of its vectors are kept."""
    bins = baseline.bins.get("vector")
    if bins is None or view.vectors is None or view.vectors.shape[1] != bins.width:
        return ()
    near = baseline.near
    if near is not None and near.width == bins.width:
        apart = np.full(len(view), math.nan)
        some = np.arange(len(view))
        if len(some) > MOST_PLACED:
            some = np.random.RandomState(0).choice(some, MOST_PLACED, replace=False)
        apart[some] = near.distances(view.vectors[some])
    else:
        apart = np.sqrt(np.square(view.vectors - bins.centre).sum(axis=1, dtype=np.float64))
    known = np.flatnonzero(np.isfinite(apart))
    far = known[np.argsort(-apart[known], kind="stable")[: 4 * MOST_SAMPLED]]
    return farthest([(round(float(apart[at]), 6), view.ids[at]) for at in far])
