"""How faithful a finished run's student is: the engine's report of the test split, completed by
what its predictions and those of its control tell."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from distillhub.lib.errors import DomainError
from distillhub.lib.later import Later, np
from training.models import Artifact, Run
from training.services import artifacts, judged_rows, predicted_rows
from training.services.judged_rows import JudgedRows

row_scores = Later("training.engine.row_scores")  # brings numpy

JSON = dict[str, Any]
BINS, LEAST = 6, 30  # parts by size at most, and rows that each has at least
MOST_PAIRS = 30  # of labels that are mixed up
OF_CLASSES = ("per_class", "confusion", "reliability", "ece")


def report(*, run: Run) -> JSON:
    """`artifacts.evaluation`, and with it `fates`, how many rows student and teacher are right and
    wrong about; `mixed_up`, pairs of labels; `sizes`, what everybody is worth by how long or large
    rows are; and of the control what its own report tells by class.

    Raises NotEvaluated before the run has been evaluated.
    """
    found = artifacts.evaluation(run=run)
    rows = _rows(run)
    student, teacher = found.get("student") or {}, found.get("teacher") or {}
    if found["control"] is not None:
        found["control"] |= _of_control(run)
    return found | {
        "fates": None if rows is None else _fates(rows),
        "mixed_up": mixed_up(found.get("labels", []), student, teacher),
        "sizes": None if rows is None else sizes(rows),
    }


def _rows(run: Run) -> JudgedRows | None:
    try:
        return judged_rows.JudgedRows(run)
    except DomainError:
        return None


def _of_control(run: Run) -> JSON:
    """What its report tells by class, where it is over."""
    files = Artifact.objects.filter(run__control_of=run, kind="evaluation")
    file = files.order_by("run__number", "-pk").first()
    if file is None:
        return {}
    try:
        with artifacts.open_file(artifact=file) as stream:
            student = json.load(stream).get("student") or {}
    except DomainError:
        return {}
    return {name: student[name] for name in OF_CLASSES if name in student}


def _fates(rows: JudgedRows) -> JSON:
    """`{"lost": 16, ...}` as `?show=` of the predictions finds them."""
    return predicted_rows.PredictedRows(rows).counts()


def mixed_up(
    labels: Sequence[str], student: Mapping[str, Any], teacher: Mapping[str, Any]
) -> list[JSON]:
    """`[{"true", "answered", "of", "student", "teacher", "difference"}]`: rows of a label that were
    given another, those of most rows first; `difference` is the student's less the teacher's share
    of the rows that have the true label."""
    ours, theirs = student.get("confusion"), teacher.get("confusion")
    if not ours:
        return []
    pairs = []
    for true, row in enumerate(ours):
        beside = theirs[true] if theirs else None
        for answered, count in enumerate(row):
            also = beside[answered] if beside else 0
            if true == answered or not (count or also):
                continue
            apart = count / (sum(row) or 1) - also / (sum(beside) or 1) if beside else None
            pairs.append(
                {
                    "true": labels[true],
                    "answered": labels[answered],
                    "of": sum(row),
                    "student": count,
                    "teacher": also if beside else None,
                    "difference": apart,
                }
            )
    pairs.sort(key=lambda one: (-(one["student"] + (one["teacher"] or 0)), -one["student"]))
    return pairs[:MOST_PAIRS]


def sizes(rows: JudgedRows) -> JSON | None:
    """`{"unit", "metric", "parts": [{"from", "to", "rows", "student", "teacher", "control"}]}`: of
    like many rows each, everybody with `value` and its 95 % `interval`; None where rows are of one
    size, or too few."""
    there = np.flatnonzero(~np.isnan(rows.size))
    if rows.student is None or rows.form == "vectors" or len(there) < 2 * LEAST:
        return None
    many = int(min(BINS, len(there) // LEAST))
    edges = np.unique(np.quantile(rows.size[there], np.linspace(0, 1, many + 1)[1:-1]))
    which = np.digitize(rows.size, edges, right=True)
    metric = str(row_scores.metric_of(rows.student, rows.form))
    parts = []
    for part in range(len(edges) + 1):
        where = there[which[there] == part]
        if not len(where):
            continue
        inside = np.zeros(len(rows), dtype=bool)
        inside[where] = True
        one: JSON = {
            "from": float(rows.size[where].min()),
            "to": float(rows.size[where].max()),
            "rows": len(where),
        }
        alone = rows.control_at[where]
        for who, answers, places in (
            ("student", rows.student, inside),
            ("teacher", rows.teacher, inside),
            ("control", rows.control, alone[alone >= 0]),
        ):
            one[who] = _worth(rows, answers, places, metric)
        parts.append(one)
    if len(parts) < 2:
        return None
    return {"unit": rows.unit, "metric": metric, "parts": parts}


def _worth(rows: JudgedRows, answers: Any, places: Any, metric: str) -> JSON | None:
    """None where nothing is known."""
    if answers is None or not len(places):
        return None
    scores = row_scores.score(answers.at(places), rows.form, rows.labels)
    value = None if scores is None else scores.metrics.get(metric)
    if value is None or not np.isfinite(value):
        return None
    return {"value": float(value), "interval": scores.interval}
