"""Studies: their list, and one with its arms, its evidence and its verdict."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib.errors import DomainError
from distillhub.templatetags import ui
from projects import permissions
from projects.models import Role
from training.charts import studies as charts
from training.models import Run, Study
from training.services import runs, scores, studies, study_strategies
from training.services import sweeps as sweep_services
from training.services.studies import Arm
from training.services.study_kinds import KINDS, label_of
from training.views import run_page, sweeps
from training.worker import comparison
from training.worker.study_pairs import seed_of

SHOWN = 200


@require_safe
def study_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    found = project.studies.select_related("created_by").prefetch_related("runs")[:SHOWN]
    rows = [
        {
            "study": study,
            "question": _question(study),
            "verdict": run_page.placed(study.verdict),
            "over": sum(run.is_final for run in study.runs.all()),
            "runs": len(study.runs.all()),
        }
        for study in found
    ]
    context = {
        "title": "Studies",
        "section": "studies",
        "project": project,
        "rows": rows,
        "is_live": any(not study.is_over for study in found),
    }
    return render(request, "training/study_list.html", context)


@require_safe
def study_detail(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    study = studies.find(project=project, number=number)
    if study.kind == sweep_services.KEY:
        return sweeps.detail(request, project, study)
    arms = studies.arms(study)
    compared = (study.report or {}).get("comparisons", [])
    pictures = drawn(study, arms, compared)
    context = {
        "title": study.name,
        "section": "studies",
        "project": project,
        "crumbs": [("Studies", reverse("training:study_list", args=[project.slug]))],
        "crumb": f"#{study.number}",
        "study": study,
        "question": _question(study),
        "arms": arms,
        "progress": studies.progress(arms),
        "verdict": run_page.placed(study.verdict),
        "comparisons": [(run_page.placed(one) or {}) | _named(study, one) for one in compared],
        "charts": [one for one in pictures if one["name"] != "cost"],
        "cost_chart": next((one for one in pictures if one["name"] == "cost"), None),
        "metric": arms[0].metric if arms else "",
        "base": study.asked.get("base", {}),
        "can_edit": project.allows(Role.EDITOR),
        "has_teachers": bool(study.asked.get("base", {}).get("teachers")),
        "conclusion": conclusion(study),
        "left_out": study.asked.get("left_out", []),
        "teacher_run": studies.made_teacher(study),
        "has_price": any(arm.cost and arm.cost["cost"] is not None for arm in arms),
    }
    return render(request, "training/study_detail.html", context)


@require_POST
def study_cancel(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    study = studies.find(project=project, number=number)
    count = studies.cancel(study=study, by=permissions.person(request))
    messages.success(request, f"Cancelled {count} run{'s' * (count != 1)}.")
    return redirect("training:study_detail", project.slug, study.number)


@require_POST
def study_edit(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    study = studies.find(project=project, number=number)
    try:
        studies.edit(study=study, name=request.POST.get("name"), notes=request.POST.get("notes"))
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("training:study_detail", project.slug, study.number)


@require_POST
def run_more_seeds(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    """The study that a finished run asks for."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    run = runs.find(project=project, number=number)
    try:
        study = studies.more_seeds(run=run, by=permissions.person(request))
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect("training:run_detail", project.slug, run.number)
    return redirect("training:study_detail", project.slug, study.number)


def drawn(study: Study, arms: list[Arm], compared: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The charts of its page, which reports show, too."""
    made = _costs(arms) if study.kind == study_strategies.KIND.key else []
    told = [(arm.key, arm.label, _scores(arm)) for arm in arms]
    told = [one for one in told if one[2]]
    if told:
        metric = arms[0].metric
        figure = charts.by_seed(told, is_share=ui.is_share(metric))
        title = f"Test {ui.measure(metric)} by seed"
        made.append({"name": "seeds", "title": title, "figure": figure, "rows": len(told)})
    if compared:
        measure = comparison.MEASURES.get(compared[0]["metric"], comparison.ACCURACY)
        labelled = [one | {"label": _named(study, one)["said_of"]} for one in compared]
        unit = measure.unit or measure.metric
        figure = charts.differences(labelled, factor=measure.factor, unit=unit)
        note = "on the same rows and seeds, 95 % intervals"
        made.append(
            {
                "name": "differences",
                "title": "Differences",
                "note": note,
                "figure": figure,
                "rows": len(compared),
            }
        )
    for one in made:
        one.setdefault("height", 90 + 46 * one.get("rows", 0))
    return made


def _costs(arms: list[Arm]) -> list[dict[str, Any]]:
    """What each way took, beside how good it is."""
    told = [
        {
            "key": arm.key,
            "label": arm.label,
            "score": arm.score,
            "deviation": arm.deviation,
            "seconds": arm.cost["seconds"],
        }
        for arm in arms
        if arm.score is not None and arm.cost is not None
    ]
    if not told:
        return []
    metric = arms[0].metric
    figure = charts.against_cost(
        told, measure=ui.measure(metric), is_share=ui.is_share(metric), teacher=_teacher(arms)
    )
    title = f"Test {ui.measure(metric)} and time"
    return [{"name": "cost", "title": title, "figure": figure, "height": 300}]


def _teacher(arms: list[Arm]) -> float | None:
    """The score of the teacher as it is, as a distilled run measured it."""
    for run in (run for arm in arms if arm.key == "distilled" for run in arm.runs):
        found = scores.number((run.summary.get("teacher") or {}).get(arms[0].metric))
        if found is not None:
            return found
    return None


def _scores(arm: Arm) -> list[tuple[int, float]]:
    found = []
    for run in arm.runs:
        measured = run.summary.get("student") or {}
        value = scores.number(measured.get(arm.metric, run.metrics.get(f"test/{arm.metric}")))
        if run.status == Run.Status.FINISHED and value is not None:
            found.append((seed_of(run), value))
    return found


def conclusion(study: Study) -> dict[str, Any] | None:
    """Of a study of strategies: `{"best", "label", "sentences"}`. None of others."""
    found = (study.report or {}).get("conclusion")
    return found and {**found, "label": label_of(study.kind, found["best"])}


def _question(study: Study) -> str:
    return KINDS[study.kind].question if study.kind in KINDS else study.kind


def _named(study: Study, one: dict[str, Any]) -> dict[str, str]:
    labels = [label_of(study.kind, one[side]) for side in ("arm", "against")]
    return {"said_of": f"{labels[0]} − {labels[1].lower()}"}
