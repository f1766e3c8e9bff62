"""Incidents: their list, and one with what changed, its rows, its history and what people do."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib.errors import DomainError, Invalid
from projects import permissions
from projects.models import Role, User
from training.engine.alerting import SEVERITIES
from training.models import Incident
from training.services import alert_channels, incidents
from training.views import incident_parts

JSON = dict[str, Any]

SHOWN = 200
FILTERS = ("state", "monitor", "severity", "owner")
#: Hours for which an incident is put off by a click.
SNOOZES = ((1, "an hour"), (4, "four hours"), (24, "a day"), (72, "three days"), (168, "a week"))


@require_safe
def incident_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    asked = {name: request.GET.get(name, "").strip()[:200] for name in FILTERS}
    refused, rows = "", []
    try:
        rows = list(incidents.listed(project=project, **asked)[: SHOWN + 1])
    except Invalid as error:
        refused = error.detail
    context = {
        "title": "Incidents",
        "section": "incidents",
        "project": project,
        "incidents": [incident_parts.line(one) for one in rows[:SHOWN]],
        "more": len(rows) > SHOWN,
        "shown": SHOWN,
        "asked": asked,
        "is_filtered": any(asked.values()),
        "refused": refused,
        "severities": SEVERITIES,
        "monitors": project.monitors.order_by("name").values_list("name", flat=True)[:100],
        "mine": permissions.person(request).username,
        "channels": project.alert_channels.filter(is_on=True).count(),
    }
    return render(request, "training/incident_list.html", context)


@require_safe
def incident_detail(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    incident = incidents.find(project=project, number=number)
    is_open = incident.closed_at is None
    context = {
        "title": f"Incident {incident.number}",
        "section": "incidents",
        "project": project,
        "crumbs": [("Incidents", reverse("training:incident_list", args=[project.slug]))],
        "crumb": f"#{incident.number}",
        "incident": incident,
        "monitor": incident.monitor,
        "line": incident_parts.line(incident),
        "words": incident_parts.words(incident),
        "numbers": incident_parts.numbers(incident),
        "signals": incident_parts.signals_of(incident),
        **incident_parts.rows_of(project, incident),
        "charts": incident_parts.charts_of(incident),
        "events": incident.events.select_related("by"),
        "messages_sent": alert_channels.of_incident(incident_id=incident.pk)[:20],
        "retrainings": incident.retrainings.order_by("-number")[:5],
        "members": project.members.order_by("username").only("username", "first_name", "last_name")
        if is_open
        else [],
        "snoozes": SNOOZES,
        "is_open": is_open,
        "is_snoozed": incident.snoozed_until is not None
        and incident.snoozed_until > timezone.now(),
        "may_edit": project.allows(Role.EDITOR),
    }
    return render(request, "training/incident_detail.html", context)


@require_POST
def incident_acknowledge(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    return _done(
        request,
        project_slug,
        number,
        lambda incident, by: incidents.acknowledge(incident=incident, by=by),
    )


@require_POST
def incident_snooze(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    """For `hours`; 0 ends it."""
    hours = request.POST.get("hours", "")

    def snooze(incident: Incident, by: User) -> Incident:
        if not (hours.isascii() and hours.isdigit() and len(hours) < 5):
            raise Invalid("Say for how many hours.")
        until: datetime | None = timezone.now() + timedelta(hours=int(hours))
        return incidents.snooze(incident=incident, until=until if int(hours) else None, by=by)

    return _done(request, project_slug, number, snooze)


@require_POST
def incident_comment(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    text = request.POST.get("text", "")
    return _done(
        request,
        project_slug,
        number,
        lambda incident, by: incidents.comment(incident=incident, text=text, by=by),
    )


@require_POST
def incident_own(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    owner = request.POST.get("owner", "")
    return _done(
        request,
        project_slug,
        number,
        lambda incident, by: incidents.own(incident=incident, owner=owner, by=by),
    )


@require_POST
def incident_close(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    reason = request.POST.get("reason", "")
    return _done(
        request,
        project_slug,
        number,
        lambda incident, by: incidents.close(incident=incident, reason=reason, by=by),
    )


def _done(
    request: HttpRequest,
    project_slug: str,
    number: int,
    act: Callable[[Incident, User], Incident],
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    incident = incidents.find(project=project, number=number)
    try:
        act(incident, permissions.person(request))
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("training:incident_detail", project.slug, number)
