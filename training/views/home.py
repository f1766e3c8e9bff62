"""The first pages: every project of a person, and one project from data to model."""

from django.db.models import Count, F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from projects import permissions
from projects.models import Dataset, Project, RegisteredModel, User
from training.models import Monitor, Run
from training.services import incidents, pipeline
from training.views import incident_parts

RECENT = 6  # rows of a short list


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    seen = Run.objects.visible_to(request.user).filter(project__archived_at=None)
    whole = seen.select_related("project", "student__model", "created_by")
    # Which come first is found out without sorting whole rows.
    last = seen.filter(status=Run.Status.FINISHED, control_of=None, archived_at=None).order_by(
        "-finished_at"
    )
    context = {
        "title": "Home",
        "section": "home",
        "projects": _projects(request.user),
        "incidents": [
            incident_parts.line(one) for one in incidents.of_person(user=request.user)[:RECENT]
        ],
        "running": whole.unfinished().order_by("-started_at", "-pk")[:RECENT],
        "results": whole.filter(pk__in=last.values("pk")[:RECENT]).order_by("-finished_at"),
    }
    return render(request, "training/home.html", context)


@require_safe
def project_overview(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    # Joined with its one project, SQLite would sort all runs instead of reading the last.
    runs = project.runs.filter(archived_at=None).select_related("student__model", "created_by")
    recent = list(runs.order_by("-number")[:RECENT])
    context = {
        "title": "Overview",
        "section": "overview",
        "project": project,
        "standing": pipeline.standing(project=project),
        "incidents": [
            incident_parts.line(one)
            for one in incidents.listed(project=project, state="open")[:RECENT]
        ]
        if project.open_incidents
        else [],
        "recent": recent,
        "is_live": any(not run.is_final for run in recent),
    }
    return render(request, "training/project_overview.html", context)


def _projects(user: User) -> QuerySet[Project]:
    """With counts of what they hold, those that moved last first."""

    def count_of(
        rows: QuerySet[Dataset] | QuerySet[RegisteredModel] | QuerySet[Run] | QuerySet[Monitor],
    ) -> Coalesce:
        counted = rows.filter(project=OuterRef("pk")).order_by().values("project")
        return Coalesce(Subquery(counted.annotate(n=Count("pk")).values("n")), 0)

    last_run = Run.objects.filter(project=OuterRef("pk")).order_by("-number")
    return (
        Project.objects.visible_to(user)
        .active()
        .annotate(
            dataset_count=count_of(Dataset.objects.all()),
            model_count=count_of(RegisteredModel.objects.all()),
            run_count=count_of(Run.objects.all()),
            monitor_count=count_of(Monitor.objects.all()),
            live_count=count_of(Run.objects.filter(status__in=Run.LEASED)),
            last_run_at=Subquery(last_run.values("created_at")[:1]),
        )
        .order_by(F("last_run_at").desc(nulls_last=True), "name")
    )
