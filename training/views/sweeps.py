"""The page of a sweep: the best so far, what was tried, what mattered; and what one can do."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib.errors import DomainError
from distillhub.templatetags import ui
from projects import permissions
from projects.ingest.written import escaped
from projects.models import Project, Role
from training.charts import sweeps as charts
from training.charts.sweeps import Dimension, Point, Score
from training.models import Study, Trial
from training.services import studies, sweep_results, sweep_space, sweeps
from training.services.study_kinds import KINDS, label_of
from training.views import run_page

TONES = {"control": "control"}
CHIPS = {"complete": "good", "pruned": "neutral", "failed": "bad", "running": "busy"}
SAMPLERS = {"tpe": "TPE", "random": "random", "grid": "grid"}


def detail(request: HttpRequest, project: Project, study: Study) -> HttpResponse:
    """Called by the page of any study."""
    trials = list(sweeps.trials_of(study))
    told = sweep_results.told(study, trials)
    space = dimensions(study.asked)
    score = _score(told)
    context = {
        "title": study.name,
        "section": "studies",
        "project": project,
        "crumbs": [("Studies", reverse("training:study_list", args=[project.slug]))],
        "crumb": f"#{study.number}",
        "study": study,
        "question": KINDS[study.kind].question,
        "sweep": told,
        "sampler": SAMPLERS[told["sampler"]],
        "metric": (told["metric"] or "").removeprefix("val/"),
        "progress": sweep_results.progress(study, trials),
        "asked_for": len(trials),
        "wanted": int(told["trials"]) * len(told["budgets"] or [1]),
        "best": [_best(study, told, space, arm) for arm in told["budgets"]],
        "charts": _charts(_choices(request, space), study, trials, told, space, score),
        "space": space,
        "choices": _choices(request, space),
        "rows": [_row(study, one, space) for one in reversed(trials)],
        "tests": [
            {"study": one, "verdict": run_page.placed(one.verdict)}
            for one in sweep_results.tests_of(study)
        ],
        "base": study.asked.get("base", {}),
        "can_edit": project.allows(Role.EDITOR),
        "most": sweeps.MOST_TRIALS - int(told["trials"]),
    }
    return render(request, "training/sweep_detail.html", context)


@require_safe
def sweep_csv(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    """All trials, a row each."""
    project = permissions.project_for(request.user, project_slug)
    study = studies.find(project=project, number=number)
    trials = sweeps.trials_of(study)
    paths = list(study.asked.get("space", {}))
    out = io.StringIO()
    writer = csv.writer(out)
    heads = ["trial", "arm", "state", study.asked.get("metric"), "run", *paths, "told"]
    writer.writerow(map(escaped, heads))
    for one in trials:
        told = [one.parameters.get(path, "") for path in paths]
        run = "" if one.run is None else one.run.number
        value = "" if one.value is None else one.value
        row = [one.number, one.arm, one.state, value, run, *told, one.told]
        writer.writerow(map(escaped, row))
    answer = HttpResponse(out.getvalue(), content_type="text/csv; charset=utf-8")
    name = f"sweep-{study.number}-trials.csv"
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


@require_POST
def sweep_stop(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    return _act(request, project_slug, number, sweeps.stop, "No more trials are asked for.")


@require_POST
def sweep_resume(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    return _act(request, project_slug, number, sweeps.resume, "It goes on.")


@require_POST
def sweep_add(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    typed = request.POST.get("trials", "").strip()
    trials = int(typed) if typed.isascii() and typed.isdigit() and len(typed) < 9 else typed
    said = f"{typed} more trials of each way of training."
    return _act(request, project_slug, number, sweeps.add_trials, said, trials=trials)


@require_POST
def sweep_best(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    """The study that tests the best trial."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    study = studies.find(project=project, number=number)
    try:
        made, _ = sweep_results.confirm_best(study=study, by=permissions.person(request))
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect("training:study_detail", project.slug, study.number)
    return redirect("training:study_detail", project.slug, made.number)


def _act(
    request: HttpRequest, project_slug: str, number: int, action: Any, said: str, **more: Any
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    study = studies.find(project=project, number=number)
    try:
        action(study=study, by=permissions.person(request), **more)
        messages.success(request, said)
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("training:study_detail", project.slug, study.number)


def dimensions(asked: Mapping[str, Any]) -> list[Dimension]:
    """The varied options with what they are called."""
    base = asked.get("base", {})
    return [
        Dimension(
            path=path,
            label=sweep_space.label_of(base, path),
            words=[written(value) for value in one["values"]] if "values" in one else None,
            is_log=bool(one.get("log")),
        )
        for path, one in asked["space"].items()
    ]


def written(value: Any) -> str:
    """A value of a configuration in a cell."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, list):
        return ", ".join(written(one) for one in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {written(one)}" for name, one in value.items())
    return "none" if value is None else str(value)


def _score(told: Mapping[str, Any]) -> Score:
    name = (told["metric"] or "").removeprefix("val/")
    label = f"{ui.measure(name)}, validation"
    return Score(label[:1].upper() + label[1:], bool(told["falls"]), ui.is_share(name))


def _best(
    study: Study, told: Mapping[str, Any], space: Sequence[Dimension], arm: str
) -> dict[str, Any]:
    found = told["best"].get(arm)
    return {
        "arm": arm,
        "label": label_of(study.kind, arm),
        "asked": told["budgets"][arm],
        "found": found,
        "parameters": [
            (one.label, written(found["parameters"][one.path]))
            for one in space
            if found and one.path in found["parameters"]
        ],
    }


def _row(study: Study, trial: Trial, space: Sequence[Dimension]) -> dict[str, Any]:
    return {
        "trial": trial,
        "label": label_of(study.kind, trial.arm),
        "chip": CHIPS.get(trial.state, "neutral"),
        "value": _value(trial, study.asked),
        "cells": [
            written(trial.parameters[one.path]) if one.path in trial.parameters else "–"
            for one in space
        ],
    }


def _value(trial: Trial, asked: Mapping[str, Any]) -> float | None:
    """Of a pruned trial the best before that."""
    if trial.state == Trial.State.PRUNED:
        known = [one for one in trial.curve if one is not None]
        return (min if asked["falls"] else max)(known) if known else None
    return trial.value


def _point(study: Study, trial: Trial) -> Point:
    space = study.asked["space"]
    return Point(
        number=trial.number,
        value=_value(trial, study.asked),
        is_pruned=trial.state == Trial.State.PRUNED,
        values={
            path: written(value) if "values" in space[path] else value
            for path, value in trial.parameters.items()
        },
    )


def _choices(request: HttpRequest, space: Sequence[Dimension]) -> dict[str, Any]:
    """Which two options the contour is of: numbers rather than words, between which is nothing."""
    known = [one.path for one in sorted(space, key=lambda one: one.words is not None)]
    x, y = (request.GET.get(name, "") for name in ("x", "y"))
    x = x if x in known else known[0]
    y = y if y in known and y != x else next((one for one in known if one != x), "")
    return {"x": x, "y": y}


def drawn_whole(study: Study) -> dict[str, Any]:
    """The charts of a sweep, as reports show them."""
    trials = list(sweeps.trials_of(study))
    told = sweep_results.told(study, trials)
    space = dimensions(study.asked)
    return _charts({"x": "", "y": ""}, study, trials, told, space, _score(told))


def _charts(
    chosen: Mapping[str, Any],
    study: Study,
    trials: Sequence[Trial],
    told: Mapping[str, Any],
    space: Sequence[Dimension],
    score: Score,
) -> dict[str, Any]:
    """By name; those that have something to show."""
    by_arm = {
        arm: [_point(study, one) for one in trials if one.arm == arm] for arm in told["budgets"]
    }
    if not any(one.value is not None for points in by_arm.values() for one in points):
        return {}
    arms = [
        (TONES.get(arm, "student"), label_of(study.kind, arm), points)
        for arm, points in by_arm.items()
    ]
    mine = next(iter(by_arm.values()))
    shares = [(one.label, told["importance"].get(one.path, 0.0)) for one in space]
    found: dict[str, Any] = {
        "history": charts.history(arms, score),
        "together": charts.together(mine, space, score),
    }
    if told["importance"]:
        found["importance"] = charts.importance(shares)
        found["importance_height"] = 96 + 34 * len(shares)
    by_path = {one.path: one for one in space}
    whole = [one for one in mine if one.value is not None and not one.is_pruned]
    if chosen["y"] and len(whole) > 2:
        found["contour"] = charts.contour(mine, by_path[chosen["x"]], by_path[chosen["y"]], score)
    return found
