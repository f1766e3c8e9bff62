"""The audit log: of a project for its owners, of everything for administrators."""

import json
from datetime import datetime, time, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.views.decorators.http import require_safe

from distillhub.lib.errors import Forbidden
from projects import permissions
from projects.models import Project, Role
from projects.services import audit, audit_files

SHOWN = 100
FILTERS = ("action", "actor", "via", "q", "since", "until")


@require_safe
def project_audit(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = _owned(request, project_slug)
    return _page(request, project, reverse("projects:project_audit_export", args=[project.slug]))


@require_safe
def project_audit_export(request: HttpRequest, project_slug: str) -> HttpResponseBase:
    project = _owned(request, project_slug)
    return _export(request, project)


@require_safe
def audit_log(request: HttpRequest) -> HttpResponse:
    _administrators_only(request)
    return _page(request, None, reverse("projects:audit_export"))


@require_safe
def audit_export(request: HttpRequest) -> HttpResponseBase:
    _administrators_only(request)
    return _export(request, None)


def _export(request: HttpRequest, project: Project | None) -> HttpResponseBase:
    form = request.GET.get("as", "")
    form = form if form in audit_files.TYPES else "csv"
    return audit_files.download(form=form, asked=_asked(request), project=project)


def _owned(request: HttpRequest, slug: str) -> Project:
    return permissions.project_for(request.user, slug, at_least=Role.OWNER, archived_too=True)


def _administrators_only(request: HttpRequest) -> None:
    if not audit.may_see_all(permissions.person(request)):
        raise Forbidden("This needs an administrator. Owners see the log of their project.")


def _page(request: HttpRequest, project: Project | None, export_url: str) -> HttpResponse:
    asked = _asked(request)
    entries = audit.found(project=project, **asked)
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 16:
        entries = entries.filter(number__lt=int(before))
    rows = list(entries[: SHOWN + 1])
    typed = {name: request.GET.get(name, "").strip()[:200] for name in FILTERS}
    kept = urlencode({name: value for name, value in typed.items() if value})
    context = {
        "title": "Audit log",
        "subtitle": "Who did what. Entries are only added; each holds the digest of the one "
        "before, so that a change to the past shows.",
        "section": "settings" if project is not None else "audit",
        "tab": "audit",
        "project": project,
        "entries": [(entry, _words(entry.detail)) for entry in rows[:SHOWN]],
        "older": f"?{kept}{'&' if kept else ''}before={rows[SHOWN - 1].number}"
        if len(rows) > SHOWN
        else "",
        "asked": typed,
        "is_filtered": bool(kept) or bool(before),
        "vias": audit.VIAS,
        "export_url": export_url,
        "kept": kept,
    }
    return render(request, "projects/audit.html", context)


def _words(detail: dict[str, Any]) -> list[tuple[str, str]]:
    """What was asked, one line for each field; what was left empty says nothing."""
    empty: tuple[Any, ...] = ("", None, [], {})
    return [(name, _plain(value)) for name, value in detail.items() if value not in empty]


def _plain(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return ", ".join(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _asked(request: HttpRequest) -> dict[str, Any]:
    asked: dict[str, Any] = {
        name: request.GET.get(name, "").strip()[:200] for name in ("action", "actor", "via", "q")
    }
    asked["since"] = _day(request.GET.get("since", ""))
    last = _day(request.GET.get("until", ""))
    asked["until"] = last + timedelta(days=1) if last is not None else None
    return asked


def _day(typed: str) -> datetime | None:
    """The beginning of a day, in the person's own time zone; None for what is no day."""
    try:
        day = parse_date(typed)
        return timezone.make_aware(datetime.combine(day, time())) if day else None
    except (ValueError, OverflowError):
        return None
