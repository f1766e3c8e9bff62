"""The table of a comparison: what every run is worth, what it costs, and what was chosen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from distillhub.templatetags import ui
from training.services import compare, run_fields, scores

MOST_SETTINGS = 12  # columns of settings; more of them stand on a tab of their own
MOST_PICKED = 60  # columns that are asked for by name


@dataclass(slots=True)
class Column:
    """`values` in the order of the runs; `written` says how one is shown, `apart` how a difference
    to the baseline is."""

    key: str
    label: str
    values: list[Any]
    written: Callable[[Any], str]
    apart: Callable[[float, float], str] | None = None
    best: list[int] = field(default_factory=list)
    is_setting: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    text: str
    apart: str
    is_best: bool
    is_changed: bool  # a setting that is not the baseline's


def context(runs: Sequence[Any], base: int | None, asked: QueryDict) -> dict[str, Any]:
    at = next((place for place, run in enumerate(runs) if run.number == base), None)
    picked = [name for name in asked.getlist("show") if len(name) < 250][:MOST_PICKED]
    columns, more = columns_of(runs, picked)
    order = asked.get("order", "")
    places = _sorted(columns, order, len(runs))
    if at is not None:
        places = [at, *(place for place in places if place != at)]
    rows = [
        {
            "run": runs[place],
            "is_base": place == at,
            "cells": [_cell(column, place, at) for column in columns],
        }
        for place in places
    ]
    known = {name for run in runs for name in run.metrics}
    return {
        "columns": columns,
        "more_settings": more,
        "rows": rows,
        "order": order,
        "picked": picked,
        "choices": [(f"metrics.{name}", ui.measured(name)) for name in shown_first(known)],
        "is_mixed": len({run.dataset_version_id for run in runs} - {None}) > 1,
    }


def shown_first(names: set[str], most: int = compare.MOST_METRICS) -> list[str]:
    """Names of series, those of validation and test first, as many as a menu holds."""
    rank = {"val": 0, "test": 1, "train": 2}
    return sorted(names, key=lambda name: (rank.get(name.split("/", 1)[0], 3), name))[:most]


def columns_of(runs: Sequence[Any], picked: Sequence[str] = ()) -> tuple[list[Column], int]:
    """The columns, and how many settings differ besides. A column that no run has is left out."""
    is_fair = len({run.dataset_version_id for run in runs} - {None}) < 2
    columns: list[Column] = []
    heads = list(dict.fromkeys(scores.headline(run) for run in runs))[:3]
    for name in heads:
        falls = run_fields.falls(name)
        validation = [compare.validated(run, name) if scores.headline(run) == name else None
                      for run in runs]  # fmt: skip
        best = compare.best_of(validation, falls=bool(falls)) if is_fair else []
        said = ui.measure(name)
        columns += [
            _measured(f"metrics.test/{name}", f"Test {said}", name, _test(runs, name), best),
            _measured(f"val.{name}", f"Best validation {said}", name, validation, best),
        ]
    columns += [
        _measured(f"metrics.{name}", label, name, [_told(run, name) for run in runs], [])
        for name, label in (("agreement", "Agreement"), ("retention", "Retention"))
    ]
    columns += [
        Column(key, label, [run_fields.own(run, key) for run in runs], written, _times)
        for key, label, written in (
            ("parameters", "Parameters", ui.compact),
            ("size_bytes", "Size", ui.filesize),
        )
    ]
    columns += [
        Column(
            "latency", "Latency, 1 row", [_latency(run) for run in runs], ui.milliseconds, _times
        ),
        Column("seconds", "Took", [run_fields.seconds(run) for run in runs], ui.duration, _times),
    ]
    found = [run_fields.settings(run.config) for run in runs]
    for name in picked:
        values = [run_fields.value_of(run, name) for run in runs]
        columns.append(_measured(name, said_of(name), name.removeprefix("metrics."), values, []))
    differing = _apart(found)
    columns += [
        Column(
            f"config.{path}",
            short(path),
            [one.get(path) for one in found],
            ui.setting,
            is_setting=True,
        )
        for path in differing[:MOST_SETTINGS]
    ]
    kept = [one for one in columns if any(value is not None for value in one.values)]
    return kept, max(0, len(differing) - MOST_SETTINGS)


def _apart(found: Sequence[dict[str, Any]]) -> list[str]:
    """Settings that differ; of those that differ in step, such as the two weights of a pair of
    losses, the first stands for all."""
    kept: dict[tuple[Any, ...], str] = {}
    for path in run_fields.differing(found):
        pattern = [run_fields.comparable(one[path]) if path in one else None for one in found]
        kept.setdefault(tuple(pattern.index(one) for one in pattern), path)
    return list(kept.values())


def short(path: str) -> str:
    """`training.learning_rate` as `learning rate`, `losses.soft_targets.weight` as `soft targets
    weight`."""
    parts = path.split(".")
    if len(parts) > 1 and parts[0] in ("training", "params", "losses", "config"):
        parts = parts[1:]
    if len(parts) > 1 and parts[0] in ("training", "losses"):
        parts = parts[1:]
    return ui.words(" ".join(parts))


def said_of(name: str) -> str:
    """A field as a person reads it."""
    kind, _, rest = name.partition(".")
    if kind == "metrics":
        return ui.measured(rest)
    if kind == "summary":
        return ui.words(rest.replace(".", " "))
    return short(rest) if kind in ("config", "params") else ui.words(name)


def _measured(key: str, label: str, name: str, values: list[Any], best: list[int]) -> Column:
    return Column(
        key,
        label,
        values,
        lambda value: ui.metric(value, name) if not isinstance(value, bool) else ui.setting(value),
        (lambda one, base: ui.signed(one - base)) if ui.is_share(name) else _plus,
        best,
    )


def _test(runs: Sequence[Any], name: str) -> list[Any]:
    return [
        run.metrics.get(f"test/{name}", (run.summary.get("student") or {}).get(name))
        if scores.headline(run) == name
        else None
        for run in runs
    ]


def _told(run: Any, name: str) -> Any:
    return run.summary.get(name, run.metrics.get(f"val/{name}"))


def _latency(run: Any) -> float | None:
    told = (run.summary.get("student") or {}).get("latency_ms") or {}
    return (told.get("1") or {}).get("median")


def _times(one: float, base: float) -> str:
    return f"{one / base:.2g}×" if base else ""


def _plus(one: float, base: float) -> str:
    return f"{one - base:+.3g}".replace("-", "−")


def _cell(column: Column, place: int, at: int | None) -> Cell:
    value = column.values[place]
    one = run_fields.number(value)
    base = None if at is None else run_fields.number(column.values[at])
    apart = ""
    if column.apart and at != place and one is not None and base is not None:
        apart = column.apart(one, base)
    is_changed = (
        column.is_setting
        and at is not None
        and run_fields.comparable(value) != run_fields.comparable(column.values[at])
    )
    return Cell(column.written(value), apart, place in column.best, is_changed)


def _sorted(columns: Sequence[Column], order: str, many: int) -> list[int]:
    """Places of the runs; those without a value come last."""
    key, is_down = order.removeprefix("-"), order.startswith("-")
    column = next((one for one in columns if one.key == key), None)
    places = list(range(many))
    if column is None:
        return places
    known = [place for place in places if column.values[place] is not None]

    def rank(place: int) -> tuple[bool, float, str]:
        value = column.values[place]
        number = run_fields.number(value)
        return number is None, number or 0.0, "" if number is not None else ui.setting(value)

    ranked = sorted(known, key=rank, reverse=is_down)
    return ranked + [place for place in places if column.values[place] is None]
