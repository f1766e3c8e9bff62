"""The form of a monitor: a new one, and the settings of one that is there. What is typed is told in
sentences as it is typed: htmx asks for the same page with the form's fields in its address."""

import json
import uuid
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from distillhub.lib.errors import DomainError, Invalid
from projects import permissions
from projects.models import Project, Role
from projects.services import idempotency
from training.forms.monitor import MonitorDraft
from training.models import Monitor
from training.services import monitor_health, monitor_meaning, monitor_settings, monitors

JSON = dict[str, Any]
MARKS = 50


@require_http_methods(["GET", "HEAD", "POST"])
def monitor_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    """`?model=small@production` begins with that model."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    if request.method == "POST":
        draft = MonitorDraft.read(project, request.POST)
        try:
            made = _make_once(request, project, draft)
        except DomainError as error:
            draft.refuse(error)
            return _new(request, project, draft, status=error.status)
        messages.success(
            request, f"{made.name} watches {made.watched}. Its reference is being read."
        )
        return redirect(_after(made))
    draft = MonitorDraft.read(project, request.GET)
    draft.begin()
    return _new(request, project, draft)


@require_http_methods(["GET", "HEAD", "POST"])
def monitor_settings_page(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    monitor = monitors.find(project=project, name=name)
    if request.method == "POST":
        permissions.require(project, at_least=Role.EDITOR)
        draft = MonitorDraft.read(project, request.POST, monitor)
        try:
            changed = monitors.edit(
                monitor=monitor, asked=draft.changes(), by=permissions.person(request)
            )
        except DomainError as error:
            draft.refuse(error)
            return _settings(request, project, monitor, draft, status=error.status)
        messages.success(request, f"Changed {changed.name}.")
        return redirect("training:monitor_settings", project.slug, changed.name)
    typed = "window" in request.GET
    draft = MonitorDraft.read(project, request.GET, monitor) if typed else MonitorDraft.of(monitor)
    return _settings(request, project, monitor, draft)


def _new(
    request: HttpRequest, project: Project, draft: MonitorDraft, status: int = 200
) -> HttpResponse:
    context = {
        "title": "Monitor a model",
        "section": "monitors",
        "project": project,
        "crumbs": [("Monitors", reverse("training:monitor_list", args=[project.slug]))],
        "crumb": "New",
        "draft": draft,
        **_meaning(draft),
        "form_key": request.POST.get("form_key") or str(uuid.uuid4()),
        "may_edit": True,
    }
    return render(request, "training/monitor_new.html", context, status=status)


def _make_once(request: HttpRequest, project: Project, draft: MonitorDraft) -> Monitor:
    """Sending the same form again, as a double click does, finds the same monitor."""
    asked = draft.asked()
    by = permissions.person(request)
    digest = idempotency.digest([project.slug.encode(), json.dumps(asked).encode()])

    def make() -> tuple[int, JSON]:
        return 201, {"name": monitors.create(project=project, asked=asked, by=by).name}

    key = f"monitor {request.POST.get('form_key', '')[:64]} {digest}"
    done = idempotency.once(user=by, key=key, request_digest=digest, work=make)
    return monitors.find(project=project, name=str(done.answer["name"]))


def _settings(
    request: HttpRequest,
    project: Project,
    monitor: Monitor,
    draft: MonitorDraft,
    status: int = 200,
) -> HttpResponse:
    archived = project.archived_at is not None
    context = {
        "title": f"Settings of {monitor.name}",
        "section": "monitors",
        "project": project,
        "crumbs": [
            ("Monitors", reverse("training:monitor_list", args=[project.slug])),
            (monitor.name, _after(monitor)),
        ],
        "crumb": "Settings",
        "monitor": monitor,
        "tab": "settings",
        "health": monitor_health.health(monitor),
        "draft": draft,
        **_meaning(draft),
        "marks": [
            one | {"when": datetime.fromisoformat(one["at"])} for one in monitor.marks[::-1][:MARKS]
        ],
        "may_edit": project.allows(Role.EDITOR) and not archived,
        "is_owner": project.allows(Role.OWNER) and not archived,
        "has_windows": monitor.windows.exists(),
    }
    return render(request, "training/monitor_settings.html", context, status=status)


def _meaning(draft: MonitorDraft) -> JSON:
    """`meaning`, or `unclear`: why what was typed means nothing yet. Its name is another matter."""
    asked = draft.asked() if draft.monitor is None else draft.changes()
    asked["name"] = draft.monitor.name if draft.monitor is not None else "unnamed"
    try:
        columns = monitor_settings.read(draft.project, asked, monitor=draft.monitor)
    except Invalid as error:
        return {"unclear": next(iter(error.fields.values()), [error.detail])[0]}
    known = columns
    if draft.monitor is not None:
        known = {field.name: getattr(draft.monitor, field.name) for field in _fields()} | columns
    version, split = known.get("dataset_version"), known.get("split")
    rows = version.splits.get(split, {}).get("rows") if version is not None else None
    return {"meaning": monitor_meaning.of(known, reference_rows=rows)}


def _fields() -> Any:
    return Monitor._meta.concrete_fields


def _after(monitor: Monitor) -> str:
    at = [monitor.project.slug, monitor.name]
    return reverse("training:monitor_health", args=at)
