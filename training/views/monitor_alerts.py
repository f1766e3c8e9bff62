"""The alerts of a monitor: how each signal stands, the rules, and who is told."""

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from distillhub.lib.errors import DomainError, Invalid
from projects import permissions
from projects.models import Role
from training.engine.alerting import SEVERITIES
from training.forms.monitor_alerts import AlertsDraft
from training.services import alert_channels, alert_states, monitors, signals
from training.views import monitor_parts as parts
from training.worker import silence
from training.worker.alert_rules import SILENCE

JSON = dict[str, Any]

#: Hours for which a signal is muted by a click.
MUTES = ((24, "a day"), (168, "a week"), (720, "30 days"))
WORDS = {
    "ok": ("as it was", "good"),
    "pending": ("one window spoke", "wait"),
    "firing": ("firing", "bad"),
    "recovering": ("recovering", "warn"),
    "no_data": ("says nothing", "wait"),
    "muted": ("muted", "wait"),
}


@require_http_methods(["GET", "HEAD", "POST"])
def monitor_alerts(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    """POST keeps the rules and who is told."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    monitor = monitors.find(project=project, name=name)
    states = alert_states.listed(monitor=monitor)
    draft = AlertsDraft(monitor, [one["signal"] for one in states])
    status = 200
    if request.method == "POST":
        lists = {one: request.POST.getlist(one) for one in ("channels", "days")}
        draft.typed(request.POST.dict(), lists)
        try:
            monitors.edit(
                monitor=monitor, asked={"alerts": draft.asked()}, by=permissions.person(request)
            )
        except DomainError as error:
            draft.refuse(error)
            status = error.status
        else:
            messages.success(request, "Kept. Windows that are judged from now on go by it.")
            return redirect("training:monitor_alerts", project.slug, monitor.name)
    for one in states:
        one["word"], one["tone"] = WORDS[one["state"]]
        one["words"] = one["called"] if one["signal"] == SILENCE else signals.words(one["signal"])
    channels = list(alert_channels.listed(project=project))
    context = {
        **parts.frame(project, monitor, "alerts"),
        "states": states,
        "draft": draft,
        "channels": draft.channels(channels),
        "severities": SEVERITIES,
        "mutes": MUTES,
        "silence_hours": silence.hours_of(monitor),
    }
    return render(request, "training/monitor_alerts.html", context, status=status)


@require_POST
def monitor_mute(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    """Mute `signal` for `hours`; 0 ends it."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    monitor = monitors.find(project=project, name=name)
    signal, hours = request.POST.get("signal", ""), request.POST.get("hours", "")
    try:
        if not (hours.isascii() and hours.isdigit() and len(hours) < 5):
            raise Invalid("Say for how many hours.")
        until = timezone.now() + timedelta(hours=int(hours)) if int(hours) else None
        alert_states.mute(
            monitor=monitor, signal=signal, until=until, by=permissions.person(request)
        )
    except Invalid as error:
        messages.error(request, error.detail)
    return redirect("training:monitor_alerts", project.slug, monitor.name)
