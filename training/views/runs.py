"""The table of runs, and a run: its page, and what that page polls while it is live."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from distillhub.lib.errors import Missing
from projects import permissions
from projects.models import ModelVersion, Role
from training.charts import machines, run_colours
from training.models import Run, SavedView
from training.services import logs, machine, metrics, queue, run_slices, runs, saved_views
from training.services.machine import MACHINE
from training.views import (
    run_charts,
    run_evaluation,
    run_lens,
    run_page,
    run_rows,
    run_table,
    tracked_run,
)

TABS = [
    ("overview", "Overview"),
    ("curves", "Curves"),
    ("lens", "Loss lens"),
    ("evaluation", "Evaluation"),
    ("rows", "Rows"),
    ("logs", "Console"),
    ("machine", "Machine"),
    ("configuration", "Configuration"),
    ("artifacts", "Artifacts"),
]
TAIL = 400  # console lines a page begins with


@require_safe
@vary_on_headers("HX-Request")
@require_safe
def run_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    context: dict[str, Any] = {
        "title": "Runs",
        "section": "runs",
        "project": project,
        "table": run_table.table(project=project, asked=request.GET),
        "palette": run_colours.TONES,
    }
    if not request.headers.get("HX-Request"):
        context |= {
            "views": list(saved_views.of_project(project, SavedView.Page.RUNS)),
            "views_page": SavedView.Page.RUNS,
            "can_edit": project.allows(Role.EDITOR),
        }
    # The fragment has the page's own address: a filter is a link that can be shared.
    name = (
        "training/_run_table.html"
        if request.headers.get("HX-Request")
        else "training/run_list.html"
    )
    return render(request, name, context)


@require_safe
def run_detail(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    run = runs.find(project=project, number=number)
    tab = request.GET.get("tab", "overview")
    tabs = tracked_run.TABS if run.is_tracked else TABS
    if tab not in dict(tabs):
        raise Missing("A run has no such tab.")
    # What is trained elsewhere has neither.
    related = ("project", "student__model", "output__model")
    control = None if run.is_tracked else run.controls.select_related(*related).first()
    teachers = [] if run.is_tracked else list(run.teachers.select_related("model"))
    address = reverse("training:run_detail", args=[project.slug, run.number])
    place = queue.places([run]).get(run.pk)
    context = {
        "title": run.name,
        "section": "runs",
        "project": project,
        "crumbs": [("Runs", reverse("training:run_list", args=[project.slug]))],
        "crumb": f"#{run.number}",
        "run": run,
        "control": control,
        "teachers": teachers,
        "tab": tab,
        "tabs": [(key, label, f"{address}?tab={key}", None) for key, label in tabs],
        "can_edit": project.allows(Role.EDITOR),
        "can": runs.actions(run),
        "palette": run_colours.TONES,
        "losses": run_page.losses(run)
        if run.is_final and project.my_role == Role.OWNER and project.archived_at is None
        else "",
        "priorities": [one.label for one in reversed(Run.Priority)],
        "place": place,
        "values": run_page.live_values(run, place),
        "failure": run_page.failure(run),
        **(
            _tracked_tab(tab, run)
            if run.is_tracked
            else run_rows.tab(request, run)
            if tab == "rows"
            else _tab(tab, run, control=control, teachers=teachers)
        ),
    }
    return render(request, "training/run_detail.html", context)


@require_safe
def run_live(request: HttpRequest, project_slug: str, number: int) -> JsonResponse:
    """What changed: points from `since_step` on (all of them, thinned, without it), console lines
    after line `after`, and every number on the page that moves."""
    project = permissions.project_for(request.user, project_slug)
    run = runs.find(project=project, number=number)
    since = _whole(request.GET.get("since_step"))
    # A step's validation is written after its training, so the last step is asked for again.
    before = None if since is None else since - 1
    series = metrics.read(run=run, max_points=run_charts.CHART_POINTS, since_step=before)["series"]
    control = run.controls.first()
    if control is not None:
        name = f"val/{run_charts.headline(run)}"
        beside = metrics.read(run=control, names=[name], max_points=run_charts.CHART_POINTS)
        series |= {f"control/{name}": points for name, points in beside["series"].items()}
    series = {name: points for name, points in series.items() if not name.startswith(MACHINE)}
    seconds = _whole(request.GET.get("machine"))
    taken = machine.read(run=run, after=seconds) if "machine" in request.GET else {"series": {}}
    series |= taken["series"]
    after = _whole(request.GET.get("after"))
    console = logs.last(run=run, count=TAIL) if after is None else logs.read(run=run, after=after)
    return JsonResponse(
        {
            "status": "pausing" if run.is_pausing else run.status,
            "is_final": run.is_final,
            "known": len(run.metrics) if run.is_tracked else None,
            "attempt": run.attempt,
            "fraction": run.fraction,
            "step": run.step,
            "values": run_page.live_values(run, queue.places([run]).get(run.pk))
            | (tracked_run.live_values(run) if run.is_tracked else {}),
            "series": series,
            "machine": taken.get("after"),
            "lines": console["lines"],
            "cursor": console["cursor"],
        }
    )


def _tab(
    tab: str, run: Run, *, control: Run | None, teachers: list[ModelVersion]
) -> dict[str, Any]:
    match tab:
        case "overview":
            return run_page.overview(run, control=control, teachers=teachers) | {
                "calibration": run_evaluation.calibration(run, control),
                "by_slice": run_evaluation.by_slice(
                    run, run_slices.of(run) if run.comparison else []
                ),
                "console": logs.last(run=run, count=60),
            }
        case "curves":
            return {"charts": run_charts.charts(run, control=control, teachers=teachers)}
        case "lens":
            return run_lens.tab(run)
        case "evaluation":
            evaluation = run_evaluation.evaluation(run)
            kept = evaluation["saved_slices"] if evaluation else run_slices.of(run)
            shown = run_evaluation.saved_slices(run, kept)
            return {
                "evaluation": evaluation,
                "cast": run_page.cast(run, control=control, teachers=teachers),
                "saved_slices": shown,
                "slice_metrics": run_evaluation.slice_metrics(shown),
                "further_slices": run_slices.further(run, kept),
                **run_page.judged_by(run),
            }
        case "logs":
            return {"console": logs.last(run=run, count=TAIL), "lines_total": logs.total(run=run)}
        case "machine":
            taken = machine.read(run=run, max_points=run_charts.CHART_POINTS)
            return {
                "charts": machines.of_run(taken["series"]),
                "machine_after": taken["after"],
                "energy": machine.energy(run),
            }
        case "configuration":
            return {"configuration": run_page.configuration(run)}
        case _:
            return {"artifact_groups": run_page.artifacts(run.artifacts.all())}


def _tracked_tab(tab: str, run: Run) -> dict[str, Any]:
    match tab:
        case "overview":
            return tracked_run.overview(run) | {"console": logs.last(run=run, count=60)}
        case "curves":
            return tracked_run.charts(run)
        case "logs":
            return {"console": logs.last(run=run, count=TAIL), "lines_total": logs.total(run=run)}
        case "artifacts":
            return tracked_run.files(run)
        case _:
            return tracked_run.parameters(run)


def _whole(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 18 else None
