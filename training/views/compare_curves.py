"""The curves of a comparison: one chart a metric, a line for each run."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import QueryDict

from distillhub.templatetags import ui
from training.charts import compare as charts
from training.charts.run_colours import Look
from training.services import run_curves, run_fields, scores
from training.views.compare_table import shown_first

MOST_CHARTS = 12
MOST_TEACHERS = 3  # whose scores are lines across
AXES = {"step": "Step", "time": "Time", "epoch": "Epoch"}


def context(runs: Sequence[Any], looks: Mapping[int, Look], asked: QueryDict) -> dict[str, Any]:
    known = {name for run in runs for name in run.metrics if not name.startswith("teacher/")}
    wanted = [name for name in dict.fromkeys(asked.getlist("m")) if name in known][:MOST_CHARTS]
    names = wanted or usual(runs, known)
    x = asked.get("x", "step")
    read = run_curves.read(runs=runs, names=names, x=x)
    made = [_chart(name, runs, looks, read[name], x) for name in names]
    drawn = {number for found in read.values() for number in found}
    return {
        "charts": made,
        "names": names,
        "choices": [(name, ui.measured(name)) for name in shown_first(known)],
        "x": x,
        "axes": list(AXES.items()),
        "smooth": _smoothing(asked.get("smooth", "")),
        "log": asked.get("log") == "yes",
        "clip": asked.get("clip") == "yes",
        "undrawn": [run.number for run in runs if run.number not in drawn],
    }


def usual(runs: Sequence[Any], known: set[str]) -> list[str]:
    """What people look at first: the score on validation rows, the losses, the agreement."""
    heads = dict.fromkeys(scores.headline(run) for run in runs)
    first = [name for head in heads for name in (f"val/{head}", head)]
    found = [
        name for name in dict.fromkeys([*first, "train/loss", "val/loss", "val/agreement"])
        if name in known
    ]  # fmt: skip
    return found[:4] or shown_first(known)[:4]


def _chart(
    name: str,
    runs: Sequence[Any],
    looks: Mapping[int, Look],
    read: Mapping[int, Mapping[str, Any]],
    x: str,
) -> dict[str, Any]:
    lines = [
        charts.Line(
            run.number,
            run.name,
            looks[run.number],
            read[run.number]["x"],
            [_rounded(value) for value in read[run.number]["values"]],
        )
        for run in runs
        if run.number in read
    ]
    figure = charts.curves(
        lines,
        measure=ui.measure(name),
        along=x,
        is_share=ui.is_share(name),
        teachers=_teachers(runs, name),
    )
    return {"name": name, "title": ui.measured(name).capitalize(), "figure": figure}


def _teachers(runs: Sequence[Any], name: str) -> dict[str, float]:
    """By name, what each teacher of the runs scored in this metric; of different data each its
    own."""
    found: dict[str, float] = {}
    for run in runs:
        value = run_fields.number(run.metrics.get(f"teacher/{name}"))
        teachers = run.config.get("teachers", [])
        if value is None or not teachers:
            continue
        first = teachers[0] if isinstance(teachers[0], str) else teachers[0]["model"]
        called = first if len(teachers) == 1 else f"{len(teachers)} teachers"
        if value not in found.values():
            found.setdefault(
                called if called not in found else f"{called}, run {run.number}", value
            )
        if len(found) == MOST_TEACHERS:
            break
    return found


def _rounded(value: Any) -> Any:
    """As many digits as a chart can show: a page of a hundred curves is half as long."""
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _smoothing(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 0.0
    return min(max(value, 0.0), 0.99) if value == value else 0.0
