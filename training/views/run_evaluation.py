"""The evaluation of a run as its tab shows it, and what its verdict does not say."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distillhub.templatetags import ui
from projects.views import dataset_rows
from training.engine import shares
from training.models import Run
from training.views import run_charts
from training.worker import comparison

LARGE = 0.05  # a difference of two calibration errors that is worth a sentence
ROLES = ("teacher", "student", "control")
OPEN = 3  # parts of the rows that are shown at once; the others unfold


def evaluation(run: Run) -> dict[str, Any] | None:
    """The report with its figures, or None before there is one; columns that part good rows from
    bad ones come first."""
    found = run_charts.evaluation(run)
    if found is None:
        return None
    # Parts by length that everybody is told of take the place of those of two networks.
    told = [one for one in found["slices"] if one["column"] != "length" or not found["sized"]]
    slices = sorted(map(_sliced, told), key=lambda one: -one["reach"])
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


def saved_slices(run: Run, kept: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The slices that are scored, as their table shows them: each with its `players`, the
    difference to the control, and where its rows are listed."""
    version, split = run.dataset_version, run.summary.get("split", "test")
    shown = []
    for one in kept:
        scores = one["scores"]
        if scores is None or version is None:
            continue
        found = {"split": split, **one["conditions"]}
        shown.append(
            {
                **one,
                **scores,
                "is_few": scores["labelled"] < shares.FEW,
                "players": [(who, scores[who]) for who in ROLES if scores.get(who)],
                "said": _said(run, scores.get("difference")),
                "address": dataset_rows.address_of(version, found),
            }
        )
    return shown


def slice_metrics(shown: Iterable[Mapping[str, Any]]) -> list[str]:
    """Every metric that a slice knows of somebody, in the order in which they come."""
    there: dict[str, None] = {}
    for one in shown:
        for _, scores in one["players"]:
            there |= dict.fromkeys(name for name in scores if name != "interval")
    return list(there)


def by_slice(run: Run, kept: Sequence[Mapping[str, Any]]) -> str:
    """On which slices distilling helped or hurt, as a sentence beside the verdict."""
    answers: dict[str, list[str]] = {"helped": [], "hurt": []}
    compared = 0
    for one in kept:
        found = (one["scores"] or {}).get("difference")
        compared += bool(found)
        if found and found["answer"] in answers:
            answers[found["answer"]].append(f"{one['name']} ({_said(run, found)})")
    parts = [f"{word} on {', '.join(names)}" for word, names in answers.items() if names]
    if parts:
        return f"By slice, it {' and '.join(parts)}."
    many = "the saved slice" if compared == 1 else f"any of the {compared} saved slices"
    return f"There is no evidence on {many} either way." if compared else ""


def _said(run: Run, found: Mapping[str, Any] | None) -> str:
    """`+3.1 points`, in the unit of the verdict."""
    if found is None:
        return ""
    measure = comparison.measure_of(run)
    return f"{measure.difference(found['difference'])} {measure.unit}".strip()


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
