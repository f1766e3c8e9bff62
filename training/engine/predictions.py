"""What networks said of a split, row by row: the file of predictions, and telling examples."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from training.engine import data, evaluate
from training.engine.data import Dataset, Indices, Targets

JSON = dict[str, Any]
Values = NDArray[np.float64]
MOST_EXAMPLES = 200
MOST_TEXT = 2000  # characters of an example


@dataclass(frozen=True, slots=True)
class Said:
    """One network's answers to a split's rows, `[rows]` each.

    value, by which two networks are compared on the same row, is 1 where the row is right and 0
    where it is wrong (the share of right words, where words have labels), or the squared error of a
    number; NaN where the row has no label. nll, in nats, is of the true label.
    """

    truths: list[str | None]
    answers: list[str | None]  # None where nothing was said
    confidence: Values
    value: Values
    nll: Values

    @classmethod
    def of(
        cls, dataset: Dataset, split: str, logits: Any, labels: Targets, starts: Indices
    ) -> Self:
        """From the logits and labels of the split's units; a row's units begin at `starts`. Rows of
        NaN are without an answer."""
        there = ~np.isnan(logits).any(axis=1)
        if not there.all():
            said = cls.of(dataset, split, np.where(there[:, None], logits, 0.0), labels, starts)
            return said._only(there)
        if dataset.problem == "embedding":
            nothing = np.full(len(logits), np.nan)
            return cls([None] * len(logits), [""] * len(logits), nothing, nothing, nothing)
        if dataset.problem == "regression":
            return cls._of_numbers(logits[:, 0].astype(np.float64), labels[:, 0])
        if dataset.problem == "multi_label":
            return cls._of_several(dataset.names, logits.astype(np.float64), labels)
        return cls._of_classes(dataset.names, logits, labels, starts)

    def _only(self, there: NDArray[np.bool_]) -> Self:
        """The same, having said nothing of the other rows."""
        return replace(
            self,
            answers=[said if one else None for said, one in zip(self.answers, there, strict=True)],
            confidence=np.where(there, self.confidence, np.nan),
            value=np.where(there, self.value, np.nan),
            nll=np.where(there, self.nll, np.nan),
        )

    @classmethod
    def _of_classes(
        cls, names: tuple[str, ...], logits: Any, labels: Targets, starts: Indices
    ) -> Self:
        logs = evaluate.log_probabilities(logits)
        said, sure = logs.argmax(axis=1), np.exp(logs.max(axis=1))
        nll = -logs[np.arange(len(labels)), np.maximum(labels, 0)]
        nll = np.where(labels >= 0, nll, np.nan)
        right = np.where(labels >= 0, (said == labels).astype(np.float64), np.nan)
        spelt = np.array([*names, None], dtype=object)
        if len(labels) == len(starts) - 1:  # one unit a row
            return cls(spelt[labels].tolist(), spelt[said].tolist(), sure, right, nll)
        spans = list(zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True))
        return cls(
            [_words(spelt[labels[start:end]]) for start, end in spans],
            [_words(spelt[said[start:end]]) or "" for start, end in spans],
            *(_means(values, spans) for values in (sure, right, nll)),
        )

    @classmethod
    def _of_several(cls, names: tuple[str, ...], logits: Values, labels: Targets) -> Self:
        said, truth = logits > 0, labels > 0.5
        known = np.asarray(~np.isnan(labels).any(axis=1))
        loss = evaluate.binary_log_loss(logits, truth).mean(axis=1)
        sure = 1.0 / (1.0 + np.exp(-np.abs(logits)))
        listed = np.array(names, dtype=object)
        spelt = ["|".join(listed[one]) for one in truth]
        return cls(
            [text if there else None for text, there in zip(spelt, known, strict=True)],
            ["|".join(listed[one]) for one in said],
            sure.mean(axis=1),
            np.where(known, (said == truth).all(axis=1).astype(np.float64), np.nan),
            np.where(known, loss, np.nan),
        )

    @classmethod
    def _of_numbers(cls, said: Values, truth: Targets) -> Self:
        nothing = np.full(len(said), np.nan)
        return cls(
            [None if np.isnan(one) else f"{one:.6g}" for one in truth],
            [f"{one:.6g}" for one in said],
            nothing,
            np.square(said - truth),
            nothing,
        )


def _words(labels: Any) -> str | None:
    """A row's labels of words, one after the other; None where none is known."""
    if all(one is None for one in labels):
        return None
    return " ".join(one or "?" for one in labels)


def _means(values: Values, spans: list[tuple[int, int]]) -> Values:
    """Of the known values of each row."""
    means = []
    for start, end in spans:
        known = values[start:end][~np.isnan(values[start:end])]
        means.append(known.mean() if len(known) else np.nan)
    return np.array(means)


def write(
    path: Path,
    dataset: Dataset,
    split: str,
    student: Said,
    teacher: Said | None,
    more: Mapping[str, pa.Array] | None = None,
) -> None:
    """One row per row of the split: what is true, and what both say how surely; and `more` columns
    (side_by_side.py, measures.py)."""
    rows = dataset.splits[split]
    nothing: list[None] = [None] * len(rows)
    absent = pa.array(nothing, pa.float64())
    table = pa.table(
        {
            "row_id": pa.array(dataset.row_ids[rows], pa.int64()),
            "split": pa.array([split] * len(rows), pa.string()),
            "label": pa.array(student.truths, pa.string()),
            "student": pa.array(student.answers, pa.string()),
            "student_confidence": numbers(student.confidence),
            "teacher": pa.array(nothing if teacher is None else teacher.answers, pa.string()),
            "teacher_confidence": absent if teacher is None else numbers(teacher.confidence),
            "student_nll": numbers(student.nll),
            "student_value": numbers(student.value),
            "teacher_nll": absent if teacher is None else numbers(teacher.nll),
            "teacher_value": absent if teacher is None else numbers(teacher.value),
            **(more or {}),
        }
    )
    pq.write_table(table, path, compression="zstd")


def numbers(values: Values) -> pa.Array:
    """A column whose NaN are nothing."""
    return pa.array(values, pa.float64(), mask=np.isnan(values))


def examples(
    dataset: Dataset, split: str, column: str, student: Said, teacher: Said | None
) -> list[JSON]:
    """Labelled rows that tell most: where the student lost to the teacher or beat it, and where
    both are surely wrong; the surest of each kind first, at most 200. Of numbers, those with the
    largest errors."""
    known = ~np.isnan(student.value)
    numbers = dataset.problem == "regression"
    order = student.value if numbers else np.nan_to_num(student.confidence)
    ours = _wrong(student, numbers)
    if teacher is None:
        kinds = {"both_wrong": ours & known}
    else:
        theirs = _wrong(teacher, numbers)
        kinds = {
            "lost": ours & ~theirs & known & ~np.isnan(teacher.value),
            "beat": ~ours & theirs & known,
            "both_wrong": ours & theirs & known,
        }
    chosen: list[tuple[str, int]] = []
    for kind, where in kinds.items():
        places = np.flatnonzero(where)
        places = places[np.argsort(-order[places], kind="stable")]
        chosen += [(kind, int(at)) for at in places[: MOST_EXAMPLES // len(kinds)]]
    if not chosen:
        return []
    rows = dataset.splits[split]
    texts: list[Any] = [None] * len(chosen)
    if column == "text":
        texts = data.values(dataset.path, column, rows[np.array([at for _, at in chosen])])
    return [
        {
            "row_id": int(dataset.row_ids[rows[at]]),
            "input": None if text is None else text[:MOST_TEXT],
            "label": student.truths[at],
            "student": student.answers[at],
            "student_confidence": _known(student.confidence[at]),
            "teacher": teacher.answers[at] if teacher else None,
            "teacher_confidence": _known(teacher.confidence[at]) if teacher else None,
            "kind": kind,
        }
        for (kind, at), text in zip(chosen, texts, strict=True)
    ]


def _wrong(said: Said, numbers: bool) -> NDArray[np.bool_]:
    """Rows answered wrong; of numbers, those further off than three in four."""
    if not numbers:
        return said.value < 1.0
    known = said.value[~np.isnan(said.value)]
    return said.value > (np.quantile(known, 0.75) if len(known) else np.inf)


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
