"""The first pages: every project of a person, and one project from data to model."""

from django.db.models import Count, F, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from projects import permissions
from projects.models import Dataset, Project, RegisteredModel, User
from training.models import Run
from training.services import pipeline

RECENT = 6  # rows of a short list


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    seen = Run.objects.visible_to(request.user).filter(project__archived_at=None)
    seen = seen.select_related("project", "student__model", "created_by")
    context = {
        "title": "Home",
        "section": "home",
        "projects": _projects(request.user),
        "running": seen.unfinished().order_by("-started_at", "-pk")[:RECENT],
        "results": seen.filter(status=Run.Status.FINISHED, control_of=None).order_by(
            "-finished_at"
        )[:RECENT],
    }
    return render(request, "training/home.html", context)


@require_safe
def project_overview(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    runs = project.runs.select_related("project", "student__model", "created_by")
    recent = list(runs.order_by("-number")[:RECENT])
    context = {
        "title": "Overview",
        "section": "overview",
        "project": project,
        "standing": pipeline.standing(project=project),
        "recent": recent,
        "is_live": any(not run.is_final for run in recent),
    }
    return render(request, "training/project_overview.html", context)


def _projects(user: User) -> QuerySet[Project]:
    """With counts of what they hold, those that moved last first."""

    def count_of(rows: QuerySet[Dataset] | QuerySet[RegisteredModel]) -> Coalesce:
        counted = rows.filter(project=OuterRef("pk")).order_by().values("project")
        return Coalesce(Subquery(counted.annotate(n=Count("pk")).values("n")), 0)

    return (
        Project.objects.visible_to(user)
        .active()
        .annotate(
            dataset_count=count_of(Dataset.objects.all()),
            model_count=count_of(RegisteredModel.objects.all()),
            run_count=Count("runs", distinct=True),
            live_count=Count("runs", filter=Q(runs__status__in=Run.LEASED), distinct=True),
            last_run_at=Max("runs__created_at"),
        )
        .order_by(F("last_run_at").desc(nulls_last=True), "name")
    )
