"""What other programs are told: webhooks of a project, their secrets, and the log of deliveries.

Address and secrets are sealed and never told again; what is shown is the host. Sending is a
worker's (training/worker/webhook_delivery.py).
"""

import secrets as chance
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import Count, Max, Q, QuerySet
from django.utils import timezone

from distillhub.lib import calls, secrets
from distillhub.lib.errors import Conflict, Invalid, Missing, refuse
from projects.models import Project, User, Webhook, WebhookDelivery, event_kinds
from projects.services import audit, events, receivers, webhook_messages, webhook_secrets
from projects.services.receivers import Faults
from projects.services.webhook_secrets import Sealed, Secret

JSON = dict[str, Any]
Status = WebhookDelivery.Status

DELIVER = "training.deliver_webhooks"
KNOWN = ("name", "url", "secret", "events", "is_on")
MOST_WEBHOOKS = 50
LONGEST_HOST = 300
MOST_AGAIN = 10_000  # deliveries that are sent again by one wish


# -- webhooks -------------------------------------------------------------------------------------


def listed(*, project: Project) -> QuerySet[Webhook]:
    """By name, with how it goes: deliveries that wait, that were given up, and the last one."""
    return _with_how_it_goes(Webhook.objects.filter(project=project))


def of_all(*, user: User) -> QuerySet[Webhook]:
    """The same, of every project that this person is a member of."""
    return _with_how_it_goes(Webhook.objects.filter(project__in=Project.objects.visible_to(user)))


def _with_how_it_goes(rows: QuerySet[Webhook]) -> QuerySet[Webhook]:
    return rows.select_related("created_by", "project").annotate(
        waiting=Count("deliveries", filter=Q(deliveries__status=Status.WAITING)),
        failed=Count("deliveries", filter=Q(deliveries__status=Status.FAILED)),
        last_delivered_at=Max("deliveries__delivered_at"),
    )


def find(*, project: Project, webhook_id: int) -> Webhook:
    """Raises Missing."""
    found = listed(project=project).filter(pk=webhook_id).first()
    if found is None:
        raise Missing(f"There is no webhook {webhook_id} in this project.")
    return found


def create(*, project: Project, asked: Any, by: User) -> tuple[Webhook, str]:
    """The webhook, and its secret, which is told this once. `asked`: {"name", "url", "secret"?,
    "events"?: kinds, all where there are none, "is_on"?}.

    Raises Invalid with every fault at its field, and Conflict for a name that is taken.
    """
    faults = receivers.unknown(asked, noun="webhook", known=KNOWN)
    columns = _columns(asked, faults)
    if "name" not in columns and "name" not in faults:
        faults["name"] = ["Give it a name."]
    url = receivers.url(asked.get("url"), faults)
    secret = receivers.secret(asked.get("secret"), faults)
    if project.webhooks.count() >= MOST_WEBHOOKS:
        faults["name"] = [f"A project has at most {MOST_WEBHOOKS} webhooks."]
    refuse(faults)
    sealed = Sealed(url, [Secret(secret)]).sealed()
    with receivers.once("webhook", columns["name"]):
        made = Webhook.objects.create(
            project=project, host=_host(url), sealed=sealed, created_by=by, **columns
        )
    return find(project=project, webhook_id=made.pk), secret


def edit(*, webhook: Webhook, asked: Any) -> tuple[Webhook, str]:
    """Change what is named. A secret is never kept for another host: a new one is made, and told
    this once; "" where it stays. Turned on, it begins anew. Raises like `create`."""
    faults = receivers.unknown(asked, noun="webhook", known=KNOWN)
    columns = _columns(asked, faults)
    secret = ""
    if asked.get("url") or asked.get("secret"):
        secret = _changed(webhook, asked, columns, faults)
    refuse(faults)
    if columns.get("is_on"):
        columns |= {"turned_off": "", "failing_since": None}
    for name, value in columns.items():
        setattr(webhook, name, value)
    with transaction.atomic():
        with receivers.once("webhook", webhook.name):
            webhook.save(update_fields=list(columns))
        if columns.get("is_on"):
            wake(webhook)
    return find(project=webhook.project, webhook_id=webhook.pk), secret


def remove(*, webhook: Webhook) -> None:
    """With the log of its deliveries."""
    webhook.delete()


def turn_off(webhook: Webhook, reason: str) -> bool:
    """No machine sends to it any more: what waits is given up. False where it was off. Its project
    hears of it."""
    with transaction.atomic():
        on = Webhook.objects.filter(pk=webhook.pk, is_on=True)
        if not on.update(is_on=False, turned_off=reason[:300]):
            return False
        webhook.deliveries.filter(status=Status.WAITING).update(status=Status.FAILED)
        events.tell(
            project=webhook.project,
            kind="webhook.turned_off",
            subject_kind="webhook",
            subject=str(webhook.pk),
            title=webhook.name,
            sentence=f"{webhook.name} was turned off: {reason}",
            data={
                "id": webhook.pk,
                "name": webhook.name,
                "host": webhook.host,
                "reason": reason,
                "by": webhook.created_by.username,
            },
        )
        audit.record(
            "webhook.change",
            by=None,
            project=webhook.project,
            subject=str(webhook.pk),
            detail={"is_on": False, "why": reason},
        )
    return True


def wake(webhook: Webhook) -> None:
    """Have a worker send what waits for it, once this is committed."""
    transaction.on_commit(partial(calls.call, DELIVER, webhook_id=webhook.pk), robust=True)


# -- deliveries -----------------------------------------------------------------------------------


def deliveries(*, webhook: Webhook, status: str = "", kind: str = "") -> QuerySet[WebhookDelivery]:
    """Newest first. Raises Invalid for a status that there is not."""
    rows = webhook.deliveries.select_related("event").order_by("-pk")
    if status:
        if status not in Status.values:
            sentence = f"It must be one of {', '.join(Status.values)}."
            raise Invalid(sentence, fields={"status": [sentence]})
        rows = rows.filter(status=status)
    return rows.filter(kind=kind) if kind else rows


def delivery(*, webhook: Webhook, delivery_id: int) -> WebhookDelivery:
    """Raises Missing."""
    found = deliveries(webhook=webhook).filter(pk=delivery_id).first()
    if found is None:
        raise Missing(f"{webhook.name} has no delivery {delivery_id}.")
    return found


def test(*, webhook: Webhook, by: User) -> WebhookDelivery:
    """A message that says that messages arrive; sent like any other. Raises Conflict for a webhook
    that is off."""
    _require_on(webhook)
    now = timezone.now()
    body = {
        "type": webhook_messages.TEST,
        "timestamp": now.isoformat(),
        "data": {
            "project": webhook.project.slug,
            "webhook": webhook.name,
            "sentence": f"{by.display_name} asked for this message, to see whether it arrives.",
            "by": by.username,
            "url": f"{settings.SITE_URL.rstrip('/')}/p/{webhook.project.slug}/settings/webhooks/",
        },
    }
    with transaction.atomic():
        made = WebhookDelivery.objects.create(
            webhook=webhook,
            message_id=f"msg_test_{chance.token_hex(12)}",
            kind=webhook_messages.TEST,
            body=body,
            due_at=now,
        )
        wake(webhook)
    return made


def redeliver(*, webhook: Webhook, delivery_id: int) -> WebhookDelivery:
    """One that was delivered or given up goes out once more, under the id it had, so that a
    receiver that has it takes no harm. Raises Missing, and Conflict for a webhook that is off."""
    _require_on(webhook)
    found = delivery(webhook=webhook, delivery_id=delivery_id)
    with transaction.atomic():
        over = webhook.deliveries.filter(pk=found.pk).exclude(status=Status.WAITING)
        over.update(status=Status.WAITING, tries=0, due_at=timezone.now(), delivered_at=None)
        webhook.deliveries.filter(pk=found.pk, status=Status.WAITING).update(due_at=timezone.now())
        wake(webhook)
    return delivery(webhook=webhook, delivery_id=delivery_id)


def redeliver_failed(*, webhook: Webhook, since: datetime | None = None) -> int:
    """All that were given up since then go out once more; how many. Raises Conflict for a webhook
    that is off."""
    _require_on(webhook)
    failed = webhook.deliveries.filter(status=Status.FAILED)
    if since is not None:
        failed = failed.filter(created_at__gte=since)
    with transaction.atomic():
        chosen = list(failed.order_by("pk").values_list("pk", flat=True)[:MOST_AGAIN])
        mine = webhook.deliveries.filter(pk__in=chosen, status=Status.FAILED)
        count = mine.update(status=Status.WAITING, tries=0, due_at=timezone.now())
        wake(webhook)
    return count


# -- what is asked --------------------------------------------------------------------------------


def _require_on(webhook: Webhook) -> None:
    if not webhook.is_on:
        raise Conflict(f"{webhook.name} is off: nothing is sent to it.", code="off")


def _columns(asked: Mapping[str, Any], faults: Faults) -> JSON:
    columns = receivers.columns(asked, faults)
    if "events" in asked:
        columns["events"] = _events(asked["events"], faults)
    return columns


def _events(given: Any, faults: Faults) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        faults["events"] = ["List kinds of events; none for all of them."]
        return []
    unknown = [one for one in given if one not in event_kinds.KINDS]
    if unknown:
        faults["events"] = [f"There is no kind {unknown[0][:50]}. See webhooks/events/."]
    return [kind for kind in event_kinds.KINDS if kind in given]


def _changed(webhook: Webhook, asked: Mapping[str, Any], columns: JSON, faults: Faults) -> str:
    """Puts what is sealed into the columns; the secret, where it is another one."""
    try:
        before: Sealed | None = webhook_secrets.opened(webhook)
    except secrets.Unreadable:
        before = None
    url = asked.get("url") or (before.url if before else None)
    url = receivers.url(url, faults)
    stays = before is not None and _host(url) == _host(before.url)
    if asked.get("secret") or not stays:
        secret = receivers.secret(asked.get("secret"), faults)
        kept: Sequence[Secret] = [Secret(secret)]
    else:
        assert before is not None
        secret, kept = "", before.secrets
    if not faults:
        columns |= {"host": _host(url), "sealed": Sealed(url, kept).sealed()}
    return secret


def _host(url: str) -> str:
    return receivers.host(url, longest=LONGEST_HOST)
