"""The evaluation of a run as its tab shows it, and what its verdict does not say."""

from collections.abc import Mapping
from typing import Any

from distillhub.templatetags import ui
from training.engine import shares
from training.models import Run
from training.views import run_charts

LARGE = 0.05  # a difference of two calibration errors that is worth a sentence
OPEN = 3  # parts of the rows that are shown at once; the others unfold


def evaluation(run: Run) -> dict[str, Any] | None:
    """The report with its figures, or None before there is one; columns that part good rows from
    bad ones come first."""
    found = run_charts.evaluation(run)
    if found is None:
        return None
    slices = sorted(map(_sliced, found["slices"]), key=lambda one: -one["reach"])
    return found | {"slices": slices[:OPEN], "further_slices": slices[OPEN:]}


def calibration(run: Run, control: Run | None) -> str:
    """How much more, or less, the student's confidence can be believed than that of the same
    student on labels alone, where the difference is large."""
    ours, theirs = (_ece(one) for one in (run, control))
    if ours is None or theirs is None or abs(ours - theirs) < LARGE:
        return ""
    said = "better" if ours < theirs else "worse"
    return (
        f"It knows {said} how sure it may be: its calibration error is {ui.percent(ours)}, "
        f"the control's {ui.percent(theirs)}."
    )


def _ece(run: Run | None) -> float | None:
    found = (run.summary.get("student") or {}).get("ece") if run is not None else None
    return float(found) if isinstance(found, int | float) else None


def _sliced(one: Mapping[str, Any]) -> dict[str, Any]:
    """A column's parts, those of few rows marked; `reach` says how far the others lie apart, as a
    share of the largest."""
    parts: list[dict[str, Any]] = [
        part | {"is_few": part["rows"] < shares.FEW} for part in one["parts"]
    ]
    counted = [part["student"] for part in parts if not part["is_few"]]
    reach = (max(counted) - min(counted)) / (max(map(abs, counted)) or 1) if counted else -1.0
    return {**one, "parts": parts, "reach": reach}
