"""Webhooks of a project: the list, one with its log, tests, new secrets, and sending again."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Role, Webhook, WebhookDelivery, event_kinds
from projects.services import webhook_secrets, webhooks
from projects.views import receivers

JSON = dict[str, Any]

SHOWN = 50  # deliveries of a log
TEXTS = ("name", "url", "secret")
SHOWN_AT = (*TEXTS, "events")
KINDS = tuple(event_kinds.KINDS.values())
GRACES = ((0, "at once"), (1, "in an hour"), (24, "in a day"), (168, "in a week"))


@require_http_methods(["GET", "HEAD", "POST"])
def webhook_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    """POST adds one."""
    project = receivers.project_of(request, project_slug)
    draft: JSON = {"events": []}
    fault: DomainError | None = None
    if request.method == "POST":
        draft = {name: request.POST.get(name, "").strip() for name in TEXTS}
        draft["events"] = _chosen(request)
        asked = {name: value for name, value in draft.items() if value}
        try:
            made, secret = webhooks.create(
                project=project, asked=asked, by=permissions.person(request)
            )
        except DomainError as error:
            fault = error
        else:
            receivers.keep_secret(request, made, secret)
            return redirect("projects:webhook_detail", project.slug, made.pk)
    context = {
        "title": "Webhooks",
        "subtitle": "Other programs are told what happens here, in signed messages.",
        "section": "settings",
        "tab": "webhooks",
        "project": project,
        "webhooks": webhooks.listed(project=project),
        "groups": receivers.groups(KINDS, draft["events"]),
        "some_events": bool(draft["events"]),
        "draft": draft,
        "faults": receivers.faults(fault, shown=SHOWN_AT),
        "may_manage": project.allows(Role.OWNER),
    }
    status = fault.status if fault is not None else 200
    return render(request, "projects/webhook_list.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def webhook_detail(request: HttpRequest, project_slug: str, webhook_id: int) -> HttpResponse:
    """Its log; POST changes it."""
    project = receivers.project_of(request, project_slug)
    webhook = webhooks.find(project=project, webhook_id=webhook_id)
    fault: DomainError | None = None
    if request.method == "POST":
        try:
            changed, secret = webhooks.edit(webhook=webhook, asked=_asked(request))
        except DomainError as error:
            fault = error
            webhook = webhooks.find(project=project, webhook_id=webhook_id)
        else:
            receivers.keep_secret(request, changed, secret)
            messages.success(request, "Kept.")
            return redirect("projects:webhook_detail", project.slug, webhook.pk)
    shown = request.GET.get("status", "")
    shown = shown if shown in WebhookDelivery.Status.values else ""
    found = webhooks.deliveries(webhook=webhook, status=shown)
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 16:
        found = found.filter(pk__lt=int(before))
    log = list(found[: SHOWN + 1])
    kept = {"status": shown} if shown else {}
    context = {
        "title": webhook.name,
        "section": "settings",
        "project": project,
        "crumbs": [
            ("Settings", reverse("projects:project_settings", args=[project.slug])),
            ("Webhooks", reverse("projects:webhook_list", args=[project.slug])),
        ],
        "crumb": webhook.name,
        "webhook": webhook,
        "log": [(one, _tries(one), _written(one.body)) for one in log[:SHOWN]],
        "older": f"?{urlencode(kept | {'before': log[SHOWN - 1].pk})}" if len(log) > SHOWN else "",
        "shown": shown,
        "statuses": WebhookDelivery.Status.values,
        "groups": receivers.groups(KINDS, webhook.events),
        "some_events": bool(webhook.events),
        "graces": GRACES,
        "faults": receivers.faults(fault, shown=SHOWN_AT),
        "secret": receivers.kept_secret(request, webhook),
        "may_manage": project.allows(Role.OWNER),
    }
    status = fault.status if fault is not None else 200
    return render(request, "projects/webhook_detail.html", context, status=status)


@require_POST
def webhook_test(request: HttpRequest, project_slug: str, webhook_id: int) -> HttpResponse:
    def test(webhook: Webhook) -> str:
        webhooks.test(webhook=webhook, by=permissions.person(request))
        return "A test message is on its way."

    return _done(request, project_slug, webhook_id, test)


@require_POST
def webhook_rotate(request: HttpRequest, project_slug: str, webhook_id: int) -> HttpResponse:
    hours = request.POST.get("grace_hours", "")
    known = {str(one): one for one, _ in GRACES}

    def rotate(webhook: Webhook) -> str:
        grace = timedelta(hours=known[hours]) if hours in known else webhook_secrets.GRACE
        receivers.keep_secret(
            request, webhook, webhook_secrets.rotate(webhook=webhook, grace=grace)
        )
        return "There is a new secret."

    return _done(request, project_slug, webhook_id, rotate)


@require_POST
def webhook_redeliver(request: HttpRequest, project_slug: str, webhook_id: int) -> HttpResponse:
    """All that were given up."""

    def again(webhook: Webhook) -> str:
        count = webhooks.redeliver_failed(webhook=webhook)
        return f"{count} {'delivery is' if count == 1 else 'deliveries are'} sent again."

    return _done(request, project_slug, webhook_id, again)


@require_POST
def delivery_redeliver(
    request: HttpRequest, project_slug: str, webhook_id: int, delivery_id: int
) -> HttpResponse:
    def again(webhook: Webhook) -> str:
        webhooks.redeliver(webhook=webhook, delivery_id=delivery_id)
        return "It is sent again."

    return _done(request, project_slug, webhook_id, again)


@require_POST
def webhook_delete(request: HttpRequest, project_slug: str, webhook_id: int) -> HttpResponse:
    project = receivers.project_of(request, project_slug)
    webhook = webhooks.find(project=project, webhook_id=webhook_id)
    webhooks.remove(webhook=webhook)
    messages.success(request, f"Deleted the webhook {webhook.name}.")
    return redirect("projects:webhook_list", project.slug)


def _done(
    request: HttpRequest, project_slug: str, webhook_id: int, act: Callable[[Webhook], str]
) -> HttpResponse:
    project = receivers.project_of(request, project_slug)
    webhook = webhooks.find(project=project, webhook_id=webhook_id)
    receivers.tell(request, lambda: act(webhook))
    return redirect("projects:webhook_detail", project.slug, webhook.pk)


def _tries(delivery: WebhookDelivery) -> list[JSON]:
    return [one | {"at": datetime.fromisoformat(one["at"])} for one in delivery.answered]


def _written(body: Any) -> str:
    return json.dumps(body, ensure_ascii=False, indent=2)


def _asked(request: HttpRequest) -> JSON:
    """An empty field for an address or a secret leaves them as they are."""
    given = {name: request.POST.get(name, "").strip() for name in TEXTS}
    asked: JSON = {"name": given["name"], "events": _chosen(request)}
    asked |= {name: given[name] for name in ("url", "secret") if given[name]}
    asked["is_on"] = request.POST.get("is_on") == "true"
    return asked


def _chosen(request: HttpRequest) -> list[str]:
    """None where all of them are meant."""
    if request.POST.get("which") != "some":
        return []
    return request.POST.getlist("events")[: len(KINDS)]
