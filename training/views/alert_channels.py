"""Where messages about incidents go: the channels of a project, one with its log, tests of them."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Role, event_kinds
from projects.views import receivers
from training.engine.alerting import SEVERITIES
from training.models import AlertChannel
from training.services import alert_channels
from training.worker import alert_senders

JSON = dict[str, Any]

SHOWN = 100  # messages of a log
TEXTS = ("name", "kind", "addresses", "url", "secret", "least")
#: Kinds of events that a channel may hear of.
KINDS = tuple(event_kinds.KINDS[key] for key in alert_channels.HEARD)


@require_http_methods(["GET", "HEAD", "POST"])
def alert_channel_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    """POST adds one."""
    project = receivers.project_of(request, project_slug)
    draft: dict[str, str] = {"kind": "email", "least": SEVERITIES[0]}
    fault: DomainError | None = None
    if request.method == "POST":
        draft = {name: request.POST.get(name, "").strip() for name in TEXTS}
        asked: JSON = {name: value for name, value in draft.items() if value}
        asked["hears"] = request.POST.getlist("hears")
        try:
            made, secret = alert_channels.create(
                project=project, asked=asked, by=permissions.person(request)
            )
        except DomainError as error:
            fault = error
        else:
            receivers.keep_secret(request, made, secret)
            return redirect("training:alert_channel_detail", project.slug, made.pk)
    context = {
        "title": "Alert channels",
        "section": "incidents",
        "project": project,
        "crumbs": [("Incidents", reverse("training:incident_list", args=[project.slug]))],
        "crumb": "Channels",
        "channels": alert_channels.listed(project=project),
        "kinds": AlertChannel.Kind.choices,
        "severities": SEVERITIES,
        "draft": draft,
        "groups": receivers.groups(KINDS, request.POST.getlist("hears")),
        "faults": receivers.faults(fault, shown=TEXTS),
        "may_manage": project.allows(Role.OWNER),
        "sends_mail": bool(settings.EMAIL_URL),
    }
    status = fault.status if fault is not None else 200
    return render(request, "training/alert_channel_list.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def alert_channel_detail(request: HttpRequest, project_slug: str, channel_id: int) -> HttpResponse:
    """Its log; POST changes it."""
    project = receivers.project_of(request, project_slug)
    channel = alert_channels.find(project=project, channel_id=channel_id)
    fault: DomainError | None = None
    if request.method == "POST":
        asked = _asked(request, channel)
        try:
            changed, secret = alert_channels.edit(channel=channel, asked=asked)
        except DomainError as error:
            fault = error
            channel = alert_channels.find(project=project, channel_id=channel_id)
        else:
            receivers.keep_secret(request, changed, secret)
            messages.success(request, "Kept.")
            return redirect("training:alert_channel_detail", project.slug, channel.pk)
    log = list(alert_channels.messages(channel=channel)[: SHOWN + 1])
    context = {
        "title": channel.name,
        "section": "incidents",
        "project": project,
        "crumbs": [
            ("Incidents", reverse("training:incident_list", args=[project.slug])),
            ("Channels", reverse("training:alert_channel_list", args=[project.slug])),
        ],
        "crumb": channel.name,
        "channel": channel,
        "log": log[:SHOWN],
        "more": len(log) > SHOWN,
        "shown": SHOWN,
        "severities": SEVERITIES,
        "groups": receivers.groups(KINDS, channel.hears),
        "faults": receivers.faults(fault, shown=TEXTS),
        "secret": receivers.kept_secret(request, channel),
        "may_manage": project.allows(Role.OWNER),
        "no_mail": alert_senders.NO_SERVER
        if channel.kind == AlertChannel.Kind.EMAIL and not settings.EMAIL_URL
        else "",
    }
    status = fault.status if fault is not None else 200
    return render(request, "training/alert_channel_detail.html", context, status=status)


@require_POST
def alert_channel_test(request: HttpRequest, project_slug: str, channel_id: int) -> HttpResponse:
    def test(channel: AlertChannel) -> str:
        alert_channels.test(channel=channel, by=permissions.person(request))
        return "A test message is on its way."

    return _done(request, project_slug, channel_id, test)


@require_POST
def alert_channel_delete(request: HttpRequest, project_slug: str, channel_id: int) -> HttpResponse:
    project = receivers.project_of(request, project_slug)
    channel = alert_channels.find(project=project, channel_id=channel_id)
    alert_channels.remove(channel=channel)
    messages.success(request, f"Deleted the channel {channel.name}.")
    return redirect("training:alert_channel_list", project.slug)


@require_POST
def alert_redeliver(
    request: HttpRequest, project_slug: str, channel_id: int, message_id: int
) -> HttpResponse:
    def again(channel: AlertChannel) -> str:
        alert_channels.send_again(channel=channel, message_id=message_id)
        return "It is sent again."

    return _done(request, project_slug, channel_id, again)


def _done(
    request: HttpRequest, project_slug: str, channel_id: int, act: Callable[[AlertChannel], str]
) -> HttpResponse:
    project = receivers.project_of(request, project_slug)
    channel = alert_channels.find(project=project, channel_id=channel_id)
    receivers.tell(request, lambda: act(channel))
    return redirect("training:alert_channel_detail", project.slug, channel.pk)


def _asked(request: HttpRequest, channel: AlertChannel) -> JSON:
    """An empty field for an address or a secret leaves them as they are."""
    given = {name: request.POST.get(name, "").strip() for name in TEXTS}
    asked: JSON = {name: given[name] for name in ("name", "least")}
    asked |= {name: given[name] for name in ("url", "secret") if given[name]}
    if channel.kind == AlertChannel.Kind.EMAIL:
        asked["addresses"] = given["addresses"]
    asked["hears"] = request.POST.getlist("hears")
    asked["is_on"] = request.POST.get("is_on") == "true"
    return asked
