"""The terms of a run's loss under a lens: what each is counted in, what its weight really is, what
a temperature makes of the teacher's answers, and what its curves say in words."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from distillhub.templatetags import ui
from training import catalog
from training.models import Run
from training.services import artifacts, diagnoses, metrics, scores, term_diagnoses
from training.services.trends import Seen

JSON = dict[str, Any]
Series = Mapping[str, Mapping[str, Sequence[Any]]]

MOST_POINTS = 5000  # of a series: as many as a run of one stage writes
SOFT_ENOUGH = 0.05  # of the mass beside the first answer, that a proposed temperature shows
TELLING = 0.8  # of the most entropy there is, that a proposed temperature leaves
LATE = 0.9  # of the steps, after which values are those of the end


def of(run: Run, series: Series | None = None) -> JSON:
    """`{"terms", "temperature", "diagnoses", "stage"}` as docs/fidelity.md tells them. Terms are
    those of the last stage, whose name `stage` is; the numbers are of its steps. `series` are those
    of the run, where they have been read already."""
    series = own_series(run) if series is None else series
    losses, stage, began = _last_stage(run.config, series)
    if began:
        series = {name: _since(points, began) for name, points in series.items()}
    softened = temperature_of(run)
    seen = _seen(run, series, losses, softened)
    return {
        "stage": stage,
        "terms": [_term(run, one, series) for one in losses],
        "temperature": softened,
        "diagnoses": [one.as_dict() for one in diagnoses.of(seen)],
    }


def own_series(run: Run) -> Series:
    """What is measured of its training."""
    found = metrics.read(run=run, max_points=MOST_POINTS)["series"]
    return {name: points for name, points in found.items() if name.startswith(MEASURED)}


MEASURED = ("train/", "val/", "teacher/val/")


def unit_of(run: Run, kind: str) -> str:
    """What a term is counted in. Of numbers, terms of answers are squared errors, and not the nats
    that they are of classes."""
    unit = str((catalog.find("losses", kind) or {}).get("unit") or "")
    return "squared error" if unit == "nats" and run.problem == "regression" else unit


def stage_marks(config: Mapping[str, Any], series: Series) -> list[tuple[int, str]]:
    """The step at which each stage but the first began, where its terms tell: the first step of a
    term that the stage before did not have, else the one after the last of a term that it had."""
    stages = config.get("stages", [])
    marks = []
    for before, stage in itertools.pairwise(stages):
        old, new = ({loss["kind"] for loss in one["losses"]} for one in (before, stage))
        begun = [steps[0] for kind in new - old if (steps := _steps(series, kind))]
        ended = [steps[-1] + 1 for kind in old - new if (steps := _steps(series, kind))]
        if begun:
            marks.append((min(begun), stage["name"]))
        elif ended and not new - old:
            marks.append((max(ended), stage["name"]))
    return marks


def temperature_of(run: Run) -> JSON | None:
    """What the evaluation keeps of the teacher's answers (`own`, `by_temperature`, `rows`), with
    `most`, the entropy of even answers, and `labels`; None of runs without."""
    try:
        report = artifacts.evaluation(run=run)
    except artifacts.NotEvaluated:
        return None
    found = report.get("temperature")
    if not found or not found["by_temperature"]:
        return None
    several = report.get("problem") == "multi_label"
    labels = report["labels"]
    return {
        **found,
        "labels": labels,
        "several": several,
        "most": math.log(2 if several else len(labels)),
    }


def _last_stage(config: Mapping[str, Any], series: Series) -> tuple[list[JSON], str, int]:
    """Its terms, its name, and the step it began at."""
    stages = config.get("stages") or []
    if not stages:
        return list(config.get("losses", [])), "", 0
    marks = stage_marks(config, series)
    last = stages[-1]
    began = marks[-1][0] if marks and marks[-1][1] == last["name"] else 0
    return list(last["losses"]), str(last["name"]), began


def _since(points: Mapping[str, Sequence[Any]], began: int) -> dict[str, list[Any]]:
    pairs = zip(points["steps"], points["values"], strict=True)
    kept = [pair for pair in pairs if pair[0] >= began]
    return {"steps": [step for step, _ in kept], "values": [value for _, value in kept]}


def _steps(series: Series, kind: str) -> list[int]:
    return list(series.get(f"train/{kind}", {}).get("steps", []))


def _term(run: Run, loss: JSON, series: Series) -> JSON:
    """A term: its unit and weight; its value and its share of gradient and loss, at the beginning
    and at the end."""
    kind = loss["kind"]
    values = _numbers(series, f"train/{kind}")
    shares = _numbers(series, f"train/{kind}_share")
    weights = _numbers(series, f"train/{kind}_weight")
    totals = _numbers(series, "train/loss")
    weight = float(loss.get("weight", 1.0))
    late = max(1, round(len(values) * (1 - LATE)))
    end = weights[-1] if weights else weight
    last = _mean(values[-late:])
    total = _mean(totals[-late:])
    return {
        "kind": kind,
        "unit": unit_of(run, kind),
        "weight": weight,
        "weight_schedule": loss.get("weight_schedule", "constant"),
        "weight_at_end": end,
        "temperature": loss.get("temperature"),
        "first": _mean(values[:late]),
        "last": last,
        "share_first": shares[0] if shares else None,
        "share_last": _mean(shares[len(shares) // 2 :]),
        "of_loss": end * last / total if last is not None and total else None,
    }


def _seen(run: Run, series: Series, losses: Sequence[JSON], softened: JSON | None) -> Seen:
    training = run.config.get("training", {})
    headline = scores.headline(run)
    weights = {one["kind"]: float(one.get("weight", 1.0)) for one in losses}
    ends = {
        kind: (_numbers(series, f"train/{kind}_weight") or [weight])[-1]
        for kind, weight in weights.items()
    }
    told = _softened(run, series, losses, softened)
    return Seen(
        series=series,
        weights=weights,
        ends=ends,
        softened=told,
        proposed=_proposed(told, softened),
        metric=headline,
        falls=ui.less_is_better(headline),
        max_grad_norm=training.get("max_grad_norm"),
        learning_rate=training.get("learning_rate"),
    )


def _softened(
    run: Run, series: Series, losses: Sequence[JSON], softened: JSON | None
) -> list[JSON]:
    """What the teacher's answers have at the temperatures of these terms."""
    own = {float(one["temperature"]) for one in losses if one.get("temperature")}
    if softened is not None:
        return [
            one | {"most": softened["most"]}
            for one in softened["by_temperature"]
            if one["temperature"] in own
        ]
    entropy, mass = (_numbers(series, f"teacher/val/{name}") for name in ("entropy", "other_mass"))
    version = run.dataset_version
    if len(own) != 1 or not entropy or not mass or version is None or len(version.labels) < 2:
        return []
    most = math.log(2 if run.problem == "multi_label" else len(version.labels))
    at = own.pop()
    return [{"temperature": at, "entropy": entropy[-1], "other_mass": mass[-1], "most": most}]


def _proposed(own: Sequence[JSON], softened: JSON | None) -> float | None:
    """Of what was tried, the temperature that is better than the first of the run's own: hotter
    where its answers are hard, colder where they are even."""
    if not own or softened is None:
        return None
    at, most = own[0]["temperature"], own[0]["most"]
    if own[0]["other_mass"] < term_diagnoses.HARD:
        hotter = [
            one["temperature"]
            for one in softened["by_temperature"]
            if one["temperature"] > at and one["other_mass"] >= SOFT_ENOUGH
        ]
        return min(hotter, default=None)
    colder = [
        one["temperature"]
        for one in softened["by_temperature"]
        if one["temperature"] < at and one["entropy"] <= TELLING * most
    ]
    return max(colder, default=None)


def _numbers(series: Series, name: str) -> list[float]:
    values = series.get(name, {}).get("values", ())
    return [float(one) for one in values if isinstance(one, int | float) and math.isfinite(one)]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
