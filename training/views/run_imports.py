"""Bringing runs from other trackers: a file or a server, what was found, and what was taken."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from distillhub.lib.errors import DomainError, Invalid, Missing
from projects import permissions
from projects.models import Project, Role
from projects.permissions import person
from projects.services import resumable
from training.models import RunImport
from training.services import run_imports

SHOWN = 20
RUNS = 100  # of which a page tells after they were taken
ENDINGS = ".csv,.tsv,.jsonl,.ndjson,.json,.zip,.tar,.gz,.tgz,.db,.sqlite,.wandb"


@require_http_methods(["GET", "POST"])
def import_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    """POST has a file looked into: one of the form, or a finished upload."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    if request.method == "GET":
        return _page(request, project)
    is_script = request.headers.get("X-Requested-With") == "XMLHttpRequest"
    try:
        made = _sent(request, project)
    except DomainError as error:
        if is_script:
            return JsonResponse({"detail": error.detail}, status=error.status)
        return _page(request, project, faults=dict(error.fields) or {"file": [error.detail]})
    address = reverse("training:import_detail", args=[project.slug, made.pk])
    return JsonResponse({"location": address}) if is_script else redirect(address)


@sensitive_post_parameters("token")
@require_POST
def import_server(request: HttpRequest, project_slug: str) -> HttpResponse:
    """Have a tracking server asked."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    names = request.POST.get("experiments", "").replace("\n", ",").split(",")
    try:
        made = run_imports.from_server(
            project=project,
            server=request.POST.get("server", ""),
            token=request.POST.get("token", ""),
            user=request.POST.get("user", ""),
            experiments=names,
            by=person(request),
        )
    except DomainError as error:
        return _page(request, project, faults=dict(error.fields) or {"server": [error.detail]})
    return redirect("training:import_detail", project.slug, made.pk)


@require_safe
def import_detail(request: HttpRequest, project_slug: str, import_id: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    row = run_imports.find(project=project, import_id=import_id)
    found: list[dict[str, Any]] = (row.report or {}).get("found", [])
    outcome: dict[str, Any] | None = row.outcome
    context = {
        "title": f"Import from {row.place}",
        "section": "runs",
        "project": project,
        "row": row,
        "found": [_line(one) for one in found],
        "more": (row.report or {}).get("runs", 0) - len(found),
        "trackers": sorted({one["tracker"] for one in found if one["tracker"]}),
        "has_points": any(one["points"] is not None for one in found),
        "has_left": any(one["left_out"] for one in found),
        "has_files": any(one.get("files") for one in found),
        "said": run_imports.words(outcome) if outcome is not None else "",
        "taken": (outcome or {}).get("runs", [])[:RUNS],
        "can_edit": _can_edit(project),
        "may_take": _can_edit(project)
        and row.report is not None
        and row.is_final
        and not (row.kind == RunImport.Kind.SERVER and outcome is not None),
    }
    part = "_import" if request.headers.get("HX-Target") == "import" else "import_detail"
    return render(request, f"training/{part}.html", context)


@require_POST
def import_take(request: HttpRequest, project_slug: str, import_id: int) -> HttpResponse:
    """Take the runs whose boxes are ticked; all, where the page could not show all."""
    project, row = _of(request, project_slug, import_id)
    keys = None if request.POST.get("all") else request.POST.getlist("runs")
    try:
        run_imports.take(run_import=row, keys=keys, by=person(request))
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("training:import_detail", project.slug, row.pk)


@require_POST
def import_again(request: HttpRequest, project_slug: str, import_id: int) -> HttpResponse:
    """Look once more, after it failed."""
    project, row = _of(request, project_slug, import_id)
    try:
        run_imports.again(run_import=row, by=person(request))
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("training:import_detail", project.slug, row.pk)


@require_POST
def import_discard(request: HttpRequest, project_slug: str, import_id: int) -> HttpResponse:
    """Forget it; its runs stay."""
    project, row = _of(request, project_slug, import_id)
    run_imports.discard(run_import=row, by=person(request))
    messages.success(request, f"The import of {row.place} is forgotten; its runs stay.")
    return redirect("training:import_new", project.slug)


def _of(request: HttpRequest, slug: str, import_id: int) -> tuple[Project, RunImport]:
    project = permissions.project_for(request.user, slug, at_least=Role.EDITOR)
    return project, run_imports.find(project=project, import_id=import_id)


def _sent(request: HttpRequest, project: Project) -> RunImport:
    asked: dict[str, Any] = {
        "project": project,
        "name": request.POST.get("name", ""),
        "by": person(request),
    }
    upload = request.POST.get("upload", "")
    if upload:
        try:
            ids = [UUID(upload)]
        except ValueError:
            raise Missing("There is no such upload.") from None
        with resumable.files(upload_ids=ids, by=person(request)) as files:
            return run_imports.from_file(file=files[0], **asked)
    file = request.FILES.get("file")
    if file is None or isinstance(file, list):
        raise Invalid("Choose a file.", fields={"file": ["Choose a file."]})
    return run_imports.from_file(file=file, **asked)


def _line(found: dict[str, Any]) -> dict[str, Any]:
    told = found["left_out"]
    return found | {"left": told[:3], "left_more": max(0, len(told) - 3)}


def _can_edit(project: Project) -> bool:
    active = project.archived_at is None
    return active and project.allows(Role.EDITOR)


def _page(
    request: HttpRequest, project: Project, *, faults: dict[str, Any] | None = None
) -> HttpResponse:
    listed = list(run_imports.listed(project=project)[:SHOWN])
    context = {
        "title": "Import runs",
        "section": "runs",
        "project": project,
        "imports": [
            (one, run_imports.words(one.outcome) if one.outcome is not None else "")
            for one in listed
        ],
        "endings": ENDINGS,
        "most_bytes": settings.DISTILLHUB_MAX_UPLOAD_MIB << 20,
        "can_edit": _can_edit(project),
        "faults": faults or {},
        "typed": {
            name: request.POST.get(name, "") for name in ("name", "server", "user", "experiments")
        },
    }
    status = 400 if faults else 200
    return render(request, "training/import_new.html", context, status=status)
