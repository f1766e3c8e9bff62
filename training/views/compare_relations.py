"""How settings and scores of a comparison hang together: parallel coordinates, and any number
against any other."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import QueryDict

from distillhub.templatetags import ui
from training.charts import compare as charts
from training.charts import parallel
from training.charts.run_colours import Look
from training.services import run_fields, scores
from training.views.compare_table import said_of

MOST_AXES = 10
USUAL_AXES = 6  # settings that are drawn unless others are asked for
WIDE = 50  # times as large as the least: a logarithmic axis tells more
MOST_CHOICES = 400


def context(runs: Sequence[Any], looks: Mapping[int, Look], asked: QueryDict) -> dict[str, Any]:
    fields = [run_fields.all_of(run) for run in runs]
    numbers = run_fields.numbers_of(fields)[:MOST_CHOICES]
    settings = [
        name
        for name in run_fields.differing(fields)
        if name.startswith(("config.", "params.")) and _is_drawable(fields, name)
    ]
    axes = [name for name in dict.fromkeys(asked.getlist("axis")) if len(name) < 250][:MOST_AXES]
    axes = [name for name in axes if name in numbers or name in settings]
    if len(axes) < 2:
        axes = [*settings[:USUAL_AXES], *_judged(runs, numbers)]
    x, y = asked.get("sx", ""), asked.get("sy", "")
    y = y if y in numbers else next(iter(_judged(runs, numbers)), numbers[0] if numbers else "")
    usual = [name for name in [*settings, "parameters", "seconds", *numbers] if name in numbers]
    usual = [name for name in usual if name != y]
    told = [name for name in usual if _tells_all_apart(fields, name)]
    x = x if x in numbers else next(iter([*told, *usual]), y)
    logs = {"log_x": asked.get("logx") == "yes", "log_y": asked.get("logy") == "yes"}
    choices = list(dict.fromkeys([*settings, *numbers]))[:MOST_CHOICES]
    return {
        "parallel": _parallel(runs, looks, fields, axes) if len(axes) > 1 else None,
        "scatter": _scatter(runs, looks, fields, (x, y), **logs) if x and y else None,
        "axes": axes,
        "choices": [(name, said_of(name)) for name in choices],
        "numbers_known": [(name, said_of(name)) for name in numbers],
        "sx": x,
        "sy": y,
        **logs,
    }


def _judged(runs: Sequence[Any], numbers: Sequence[str]) -> list[str]:
    heads = dict.fromkeys(scores.headline(run) for run in runs)
    names = [f"metrics.{split}{head}" for head in heads for split in ("val/", "test/", "")]
    return [name for name in names if name in numbers][:1] or list(numbers[:1])


def _tells_all_apart(fields: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Whether every run has that number, and not all the same one."""
    values = {run_fields.number(one.get(name)) for one in fields}
    return None not in values and len(values) > 1


def _is_drawable(fields: Sequence[Mapping[str, Any]], name: str) -> bool:
    """Numbers, or words of which there are few enough to be told apart."""
    values = {run_fields.comparable(one[name]) for one in fields if name in one}
    words = [one for one in values if one[0] != "number"]
    return not words or (len(values) <= parallel.MOST_WORDS and all(
        isinstance(one[1], str | bool) for one in words
    ))  # fmt: skip


def _parallel(
    runs: Sequence[Any],
    looks: Mapping[int, Look],
    fields: Sequence[Mapping[str, Any]],
    names: Sequence[str],
) -> dict[str, Any]:
    axes = []
    for name in names:
        known = [one[name] for one in fields if one.get(name) is not None]
        numbers = [value for one in known if (value := run_fields.number(one)) is not None]
        are_numbers = len(numbers) == len(known)
        is_wide = are_numbers and bool(numbers) and min(numbers) > 0
        axes.append(
            parallel.Axis(
                said_of(name),
                is_log=is_wide and max(numbers) >= WIDE * min(numbers),
                is_share=ui.is_share(name),
                falls=name.startswith("metrics.") and run_fields.falls(name) is True,
            )
        )
    strands = [
        parallel.Strand(
            name=f"{run.number} {run.name}",
            values=[_plain(one.get(name)) for name in names],
            group=f"{run.number} {run.name}",
            tone=looks[run.number].tone,
            dash=looks[run.number].dash,
        )
        for run, one in zip(runs, fields, strict=True)
    ]
    figure = parallel.coordinates(axes, strands)
    for run, trace in zip(runs, figure["data"], strict=False):
        trace["meta"] = trace["meta"] | {"run": run.number}
    meta = figure["layout"].get("meta", {}) | {"named": True}
    return figure | {"layout": figure["layout"] | {"meta": meta}}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return ui.setting(value)


def _scatter(
    runs: Sequence[Any],
    looks: Mapping[int, Look],
    fields: Sequence[Mapping[str, Any]],
    names: tuple[str, str],
    *,
    log_x: bool,
    log_y: bool,
) -> dict[str, Any]:
    points = []
    for run, one in zip(runs, fields, strict=True):
        x, y = (run_fields.number(one.get(name)) for name in names)
        if x is not None and y is not None:
            points.append(charts.Point(run.number, run.name, looks[run.number], x, y))
    return charts.scatter(
        points,
        x=said_of(names[0]),
        y=said_of(names[1]),
        share_x=ui.is_share(names[0]),
        share_y=ui.is_share(names[1]),
        log_x=log_x,
        log_y=log_y,
    )
