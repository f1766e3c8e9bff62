"""What student and teacher held likely of each row, and how far apart they were: further columns of
the file of predictions. All divergences in float64, in nats."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.engine import evaluate, predictions
from training.engine.data import Indices, Targets
from training.engine.job_config import Problem
from training.engine.recorded import spoke

Values = NDArray[np.float64]
MOST = 8  # likeliest labels of each network that are kept of a row; with up to twice as many, all
AT_ONCE = 4096  # rows whose probabilities are in memory together


def columns(
    student: NDArray[Any],
    teacher: NDArray[Any] | None,
    labels: Targets,
    starts: Indices,
    problem: Problem,
) -> dict[str, pa.Array]:
    """Of logits `[units, classes]`, where a row's units begin at `starts`; units of NaN have no
    answer.

    kl: KL(teacher ‖ student) at T = 1, in nats; with several labels the sum over them, with several
    units the mean. cosine, of vectors of one width: of student and teacher. classes, where a row is
    one unit: the ids of labels that are told of, among them each network's likeliest and what is
    true; student_probabilities and teacher_probabilities: of these, in their order.
    """
    found: dict[str, pa.Array] = {}
    if problem == "regression":
        return found
    rows = len(starts) - 1
    if teacher is not None and not (problem == "embedding" and _widths_differ(student, teacher)):
        apart = _apart(student, teacher, problem)
        name = "cosine" if problem == "embedding" else "kl"
        told = apart if len(apart) == rows else _means(apart, starts)
        found[name] = predictions.numbers(told)
    if problem != "embedding" and len(student) == rows:
        found |= _probabilities(student, teacher, labels, problem)
    return found


def _apart(student: NDArray[Any], teacher: NDArray[Any], problem: Problem) -> Values:
    """`[units]`; NaN where the teacher said nothing."""
    there = spoke(teacher)
    found = np.full(len(student), np.nan)
    pair = student[there], teacher[there]
    if problem == "embedding":
        found[there] = evaluate.cosines(*pair)
    else:
        found[there] = evaluate.divergences(*pair, problem)
    return found


def _widths_differ(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return bool(one.shape[1] != other.shape[1])


def _means(values: Values, starts: Indices) -> Values:
    """Of each row's units; NaN where it has none, or one of them has no value."""
    sums = np.concatenate([[0.0], np.cumsum(np.nan_to_num(values))])
    gaps = np.concatenate([[0], np.cumsum(np.isnan(values))])
    counts = np.diff(starts)
    means = (sums[starts[1:]] - sums[starts[:-1]]) / np.maximum(counts, 1)
    whole = (counts > 0) & (gaps[starts[1:]] == gaps[starts[:-1]])
    return np.where(whole, means, np.nan)


def _probabilities(
    student: NDArray[Any], teacher: NDArray[Any] | None, labels: Targets, problem: Problem
) -> dict[str, pa.Array]:
    rows, width = student.shape
    parts: list[tuple[Indices, Indices, Values, Values]] = []
    for start in range(0, rows, AT_ONCE):
        some = slice(start, min(start + AT_ONCE, rows))
        ours = shares(student[some], problem)
        theirs = shares(teacher[some], problem) if teacher is not None else None
        chosen = np.ones(ours.shape, dtype=bool)
        if width > 2 * MOST:
            chosen = _true(labels[some], width, problem)
            for one in (ours, theirs):
                if one is not None:
                    likeliest = np.argpartition(-one, MOST, axis=1)[:, :MOST]
                    np.put_along_axis(chosen, likeliest, True, axis=1)
        ids = np.nonzero(chosen)[1].astype(np.int64)
        said = theirs[chosen] if theirs is not None else np.empty(0)
        parts.append((chosen.sum(axis=1), ids, ours[chosen], said))
    counts, ids, of_student, of_teacher = (
        np.concatenate([one[place] for one in parts]) if parts else np.empty(0, dtype=np.int64)
        for place in range(4)
    )
    ends = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)

    def lists(values: NDArray[Any], kind: Any, without: Any = None) -> pa.Array:
        mask = None if without is None else pa.array(without)
        return pa.ListArray.from_arrays(pa.array(ends), pa.array(values, kind), mask=mask)

    silent = np.ones(rows, dtype=bool) if teacher is None else ~spoke(teacher)
    beside = np.zeros(len(ids)) if teacher is None else np.nan_to_num(of_teacher)
    return {
        "classes": lists(ids.astype(np.int32), pa.int32()),
        "student_probabilities": lists(of_student.astype(np.float32), pa.float32()),
        "teacher_probabilities": lists(beside.astype(np.float32), pa.float32(), silent),
    }


def shares(logits: NDArray[Any], problem: Problem) -> Values:
    """`[rows, classes]`: probabilities of logits; NaN where there is no answer."""
    there = spoke(logits)
    found = np.full(logits.shape, np.nan)
    if problem == "multi_label":
        found[there] = np.exp(-np.logaddexp(0.0, -logits[there].astype(np.float64)))
    else:
        found[there] = np.exp(evaluate.log_probabilities(logits[there]))
    return found


def _true(labels: Targets, width: int, problem: Problem) -> NDArray[np.bool_]:
    """`[rows, classes]`: where a label is true."""
    if problem == "multi_label":
        return np.asarray(labels > 0.5)
    return np.asarray(labels[:, None] == np.arange(width)[None, :])
