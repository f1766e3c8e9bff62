"""Did the teacher help? A distilled student against its control, row by row.

Both answered the same rows. The interval is a paired bootstrap over rows: a resample of rows is a
draw from the multinomial of (only the student right, only the control right, the same), so ten
thousand of them cost a millisecond. McNemar's exact test asks whether the rows on which they differ
fall to one side. Neither says anything about other seeds, and the sentence admits it.
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from distillhub.lib import storage
from distillhub.lib.later import Later
from training.models import Artifact, Run

parquet = Later("pyarrow.parquet")

LEVEL = 0.95
RESAMPLES = 10_000


def compare(run: Run) -> dict[str, Any] | None:
    """The comparison of a finished run with its finished control, for `Run.comparison`; None when
    either has left no predictions. Raises storage.Damaged."""
    control = run.controls.filter(status=Run.Status.FINISHED).order_by("number").first()
    if control is None or run.status != Run.Status.FINISHED:
        return None
    files = [
        Artifact.objects.filter(run=one, kind="predictions").order_by("-pk").first()
        for one in (run, control)
    ]
    ours, theirs = files
    if ours is None or theirs is None:
        return None
    with storage.open_blob(ours.sha256) as left, storage.open_blob(theirs.sha256) as right:
        columns = ["row_id", "split", "label", "student"]
        pair = [parquet.read_table(file, columns=columns) for file in (left, right)]
    rights = [_right(table) for table in pair]
    shared = sorted(rights[0].keys() & rights[1].keys())
    if not shared:
        return None
    student = np.array([rights[0][row] for row in shared])
    baseline = np.array([rights[1][row] for row in shared])
    found = paired(student, baseline)
    return {
        "control": control.number,
        "metric": "accuracy",
        "split": str(pair[0].column("split")[0]),
        **found,
        "sentence": sentence(found, control.number),
    }


def paired(student: NDArray[np.bool_], baseline: NDArray[np.bool_]) -> dict[str, Any]:
    """Accuracy of two models on the same rows (bool arrays, True where right), and how sure the
    difference is."""
    rows = len(student)
    better = int(np.sum(student & ~baseline))
    worse = int(np.sum(~student & baseline))
    shares = np.array([better, worse, rows - better - worse]) / rows
    drawn = np.random.default_rng(0).multinomial(rows, shares, size=RESAMPLES)
    differences = (drawn[:, 0] - drawn[:, 1]) / rows
    tail = (1 - LEVEL) / 2
    low, high = (float(edge) for edge in np.quantile(differences, [tail, 1 - tail]))
    answer = "helped" if low > 0 else "hurt" if high < 0 else "no_evidence"
    return {
        "rows": rows,
        "student": float(student.mean()),
        "control_value": float(baseline.mean()),
        "difference": (better - worse) / rows,
        "interval": [low, high],
        "level": LEVEL,
        "method": "paired bootstrap over rows",
        "mcnemar_p": mcnemar(better, worse),
        "answer": answer,
    }


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided p: a fair coin thrown `better + worse` times falls at least so unevenly."""
    thrown, fewer = better + worse, min(better, worse)
    if thrown == 0:
        return 1.0
    chosen = [
        math.lgamma(thrown + 1) - math.lgamma(heads + 1) - math.lgamma(thrown - heads + 1)
        for heads in range(fewer + 1)
    ]
    tail = sum(math.exp(term - thrown * math.log(2)) for term in chosen)
    return min(1.0, 2 * tail)


def sentence(found: dict[str, Any], control: int) -> str:
    """The verdict as a person would say it."""
    points = abs(found["difference"]) * 100
    low, high = (edge * 100 for edge in found["interval"])
    span = f"{low:+.1f} to {high:+.1f} points, {found['level']:.0%} interval"
    rows = f"{found['rows']:,} rows".replace(",", " ")
    match found["answer"]:
        case "helped":
            verdict = f"The teacher helped: {points:.1f} points more accuracy than run {control}"
        case "hurt":
            verdict = f"The teacher hurt: {points:.1f} points less accuracy than run {control}"
        case _:
            verdict = f"No evidence that the teacher helped, compared with run {control}"
    return (
        f"{verdict}, the same student on labels alone ({span}, on {rows}). "
        "One seed was trained; another could differ."
    )


def _right(table: Any) -> dict[int, bool]:
    """Which rows were answered right; rows without a label are not counted."""
    labels, answers = table.column("label").to_pylist(), table.column("student").to_pylist()
    return {
        row: label == answer
        for row, label, answer in zip(
            table.column("row_id").to_pylist(), labels, answers, strict=True
        )
        if label is not None
    }
