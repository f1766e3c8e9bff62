"""How MLflow's clients are pointed at a project: the lines to copy, with a token of its own."""

from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import ApiToken, Project, Role
from projects.permissions import person
from projects.services import accounts
from training.services import experiment_runs, experiments

MOST = 100  # experiments in the table
UNTOLD = "<your token>"
LONGEST = 500  # characters of a name in an address


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def mlflow_connect(request: HttpRequest, project_slug: str) -> HttpResponse:
    """POST makes a token, which is in this answer only."""
    needed = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=needed)
    raw = ""
    if request.method == "POST":
        try:
            _, raw = accounts.create_token(
                user=person(request),
                name=f"MLflow in {project.name}"[:100],
                scope=ApiToken.Scope.WRITE,
                project=project,
            )
        except DomainError as error:
            messages.error(request, error.detail)
    address = request.build_absolute_uri(f"/mlflow/{project.slug}")
    found = list(experiments.counted(project)[: MOST + 1])
    context = {
        "title": "Connect MLflow",
        "section": "runs",
        "project": project,
        "crumbs": [("Runs", reverse("training:run_list", args=[project.slug]))],
        "crumb": "Connect MLflow",
        "raw": raw,
        "address": address,
        "variables": variables(address, raw or UNTOLD),
        "can_edit": project.allows(Role.EDITOR) and project.archived_at is None,
        "experiments": [(one, _runs_of(project, one.name)) for one in found[:MOST]],
        "is_cut": len(found) > MOST,
    }
    return render(request, "training/mlflow_connect.html", context)


@require_safe
def mlflow_run(request: HttpRequest, project_slug: str, key: str) -> HttpResponse:
    """The page of a run, by the id that clients have for it."""
    project = permissions.project_for(request.user, project_slug)
    found = experiment_runs.find(project=project, key=key)
    return redirect("training:run_detail", project.slug, found.run.number)


def _runs_of(project: Project, experiment: str) -> str:
    """The table of its runs; nothing for a name that no filter can write."""
    quote = next((one for one in "\"'" if one not in experiment), "")
    if not quote or "\\" in experiment or len(experiment) > LONGEST:
        return ""
    table = reverse("training:run_list", args=[project.slug])
    return f"{table}?{urlencode({'filter': f'experiment = {quote}{experiment}{quote}'})}"


def variables(address: str, token: str) -> str:
    quoted = token if token != UNTOLD else f"'{token}'"
    return f"export MLFLOW_TRACKING_URI={address}\nexport MLFLOW_TRACKING_TOKEN={quoted}"
