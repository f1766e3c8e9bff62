"""The same series of several runs, over the same axis: steps, hours since each began, or epochs."""

from collections.abc import Mapping, Sequence
from typing import Any

from distillhub.lib.errors import Invalid
from training.models import Run
from training.services import metrics

AXES = ("step", "time", "epoch")
TOGETHER = 40_000  # points of all lines in one answer, as far as FEWEST lets them
FEWEST, MOST = 60, 1000  # points of a line
EPOCH = "epoch"  # the series by which a tracked run may tell it


def read(
    *, runs: Sequence[Run], names: Sequence[str], x: str = "step", max_points: int | None = None
) -> dict[str, dict[int, dict[str, Any]]]:
    """`{name: {number of a run: {"x", "values", "count", "thinned"}}}`. A run that has no such
    series, or no epochs where these are asked for, is left out. Raises Invalid. Six queries."""
    if x not in AXES:
        sentence = f"There is no axis {x}; there are {', '.join(AXES)}."
        raise Invalid(sentence, fields={"x": [sentence]})
    if max_points is None:
        max_points = TOGETHER // max(1, len(runs) * len(names))
        max_points = max(FEWEST, min(MOST, max_points))
    told = [EPOCH] if x == "epoch" and any(EPOCH in run.metrics for run in runs) else []
    series = metrics.read_together(runs=runs, names=[*names, *told], max_points=max_points)
    found: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in names}
    for run in runs:
        of_run = series[run.pk]
        for name in names:
            points = of_run.get(name)
            along = _along(run, x, points, of_run.get(EPOCH)) if points else None
            if points and along is not None:
                found[name][run.number] = {
                    "x": along,
                    "values": points["values"],
                    "count": points["count"],
                    "thinned": points["thinned"],
                }
    return found


def _along(
    run: Run, x: str, points: Mapping[str, Any], epochs: Mapping[str, Any] | None
) -> list[float] | None:
    if x == "step":
        return list(points["steps"])
    if x == "time":
        times = points["times"]
        began = run.started_at.timestamp() if run.started_at else times[0]
        began = min(began, times[0])
        return [round((moment - began) / 3600, 6) for moment in times]
    if epochs is not None and len(epochs["steps"]) > 1:
        return _between(points["steps"], epochs["steps"], epochs["values"])
    length = steps_of_an_epoch(run)
    return None if length is None else [round(step / length, 4) for step in points["steps"]]


def steps_of_an_epoch(run: Run) -> float | None:
    """None where nobody told."""
    steps, epochs = run.summary.get("steps"), run.summary.get("epochs")
    if not (steps and epochs) and not run.config.get("stages"):
        steps, epochs = run.steps, (run.config.get("training") or {}).get("epochs")
    if not isinstance(steps, int | float) or not isinstance(epochs, int | float):
        return None
    return steps / epochs if steps > 0 and epochs > 0 else None


def _between(
    steps: Sequence[int], known: Sequence[int], values: Sequence[Any]
) -> list[float] | None:
    """The epoch at each step, on straight lines between those that were told."""
    pairs = [
        (step, float(value))
        for step, value in zip(known, values, strict=True)
        if isinstance(value, int | float)
    ]
    if len(pairs) < 2:
        return None
    found, at = [], 0
    for step in steps:
        while at < len(pairs) - 2 and pairs[at + 1][0] < step:
            at += 1
        (first, low), (second, high) = pairs[at], pairs[at + 1]
        found.append(round(low + (high - low) * (step - first) / (second - first), 4))
    return found
