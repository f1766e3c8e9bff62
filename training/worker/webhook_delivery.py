"""Deliveries on their way: claimed one at a time, sent, tried again, given up.

    claim     compare-and-set of `tries`; for LEASE it is this process's, then anybody's again
    send      signed under every secret that holds (distillhub/lib/standard_webhooks.py)
    settle    delivered; or due again after BACK_OFF, a little later by chance; or failed

Each try is kept with what was answered, and one whose process was killed as such. A receiver that
answers 410, or fails for GIVEN_UP without taking anything, is sent nothing any more: its webhook is
turned off. While one is down a delivery asks it from time to time, and the others wait behind.
"""

import logging
import random
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from distillhub.lib import leases, secrets, standard_webhooks, told
from distillhub.lib.standard_webhooks import Answer
from projects.models import Webhook, WebhookDelivery
from projects.services import webhook_messages, webhook_secrets, webhooks
from training.worker import dispatch, machine

log = logging.getLogger(__name__)

JSON = dict[str, Any]
Status = WebhookDelivery.Status

LEASE = timedelta(minutes=2)  # longer than a receiver may take
#: After each try that failed; as many tries as there are steps, and one.
BACK_OFF = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
)
JITTER = 0.1  # of a step, at most
BEHIND = timedelta(minutes=5)  # others wait behind one that nobody answers, at most so long
GIVEN_UP = timedelta(days=5)  # of failures without anything that was taken
AT_A_TIME = 50  # of one webhook, before others have their turn
SHOWN_ANSWER = 1000  # characters of an answer that are kept
SHOWN_TRIES = 20
LOST = "It may have arrived: who sent it ended before the answer was written down."
KEPT = timedelta(days=30)  # of what was delivered or given up


def deliver(webhook_id: int, *, now: datetime | None = None) -> int:
    """Send what is due to a webhook; how much was taken. One thread of a machine at a time."""
    taken = 0
    with (
        told.about(webhook=webhook_id),
        machine.alone(machine.home() / f"webhook-{webhook_id}.lock") as ours,
    ):
        for _ in range(AT_A_TIME if ours else 0):
            if not leases.takes_more():
                return taken
            delivery = claim(webhook_id, now=now or timezone.now())
            if delivery is None:
                return taken
            taken += send(delivery, now=now)
    if ours:
        dispatch.call(webhooks.DELIVER, webhook_id=webhook_id)
    return taken


def claim(webhook_id: int, *, now: datetime) -> WebhookDelivery | None:
    """The first that is due; None when nothing is."""
    while True:
        found = (
            _due(now)
            .filter(webhook=webhook_id)
            .select_related("webhook__project", "webhook__created_by")
            .order_by("due_at", "pk")
            .first()
        )
        if found is None:
            return None
        mine = _waiting(found).filter(tries=found.tries)
        changes: JSON = {"tries": found.tries + 1, "due_at": now + LEASE, "claimed_at": now}
        if found.claimed_at is not None:
            lost = _kept(Answer(None, LOST, 0), found.claimed_at)
            changes["answered"] = [lost, *found.answered][:SHOWN_TRIES]
            if found.tries > len(BACK_OFF):  # it may be what kills them
                changes |= {"tries": found.tries, "claimed_at": None, "status": Status.FAILED}
        if mine.update(**changes):
            for name, value in changes.items():
                setattr(found, name, value)
            if found.status == Status.WAITING:
                return found


def send(delivery: WebhookDelivery, *, now: datetime | None = None) -> bool:
    """Never raises for what a receiver does: that is written to the delivery."""
    try:
        answer = _posted(delivery)
    except secrets.Unreadable as sealed:
        answer = Answer(None, sealed.detail, 0)
    except Exception as surprise:
        log.exception("Delivery %s met a surprise.", delivery.pk)
        answer = Answer(None, f"It met a surprise: {type(surprise).__name__}.", 0)
    settle(delivery, answer, now=now or timezone.now())
    return answer.taken


def settle(delivery: WebhookDelivery, answer: Answer, *, now: datetime) -> None:
    webhook = delivery.webhook
    given_up = answer.gone or delivery.tries > len(BACK_OFF)
    again = now + _pause(delivery.tries) if not answer.taken and not given_up else None
    changes: JSON = {
        "answered": [_kept(answer, now), *delivery.answered][:SHOWN_TRIES],
        "claimed_at": None,
    }
    if answer.taken:
        changes |= {"status": Status.DELIVERED, "delivered_at": now}
    elif given_up:
        changes |= {"status": Status.FAILED}
    else:
        changes |= {"due_at": again}
    with transaction.atomic():
        if not _waiting(delivery).filter(tries=delivery.tries).update(**changes):
            return  # its lease was over, and another sent it
        hook = Webhook.objects.filter(pk=webhook.pk)
        if answer.taken:
            hook.exclude(failing_since=None).update(failing_since=None)
            return
        hook.filter(failing_since=None).update(failing_since=now)
        if again is not None and answer.status is None:
            behind = _due(now).filter(webhook=webhook.pk, tries=0)
            behind.update(due_at=min(again, now + BEHIND))
        _turn_off(webhook, answer, now)
    if again is not None and delivery.tries == 1:
        pause = (again - now).total_seconds()
        dispatch.call(webhooks.DELIVER, after=pause, webhook_id=webhook.pk)


def look_again() -> None:
    """Wake workers for what is due and nobody sends."""
    due = _due(timezone.now()).filter(webhook__is_on=True).order_by()
    for webhook_id in due.values_list("webhook", flat=True).distinct():
        dispatch.call(webhooks.DELIVER, webhook_id=webhook_id)


def forget_old(*, now: datetime | None = None) -> int:
    """Deliveries that are over are kept for KEPT."""
    old = WebhookDelivery.objects.filter(created_at__lt=(now or timezone.now()) - KEPT)
    return old.exclude(status=Status.WAITING).delete()[0]


def _posted(delivery: WebhookDelivery) -> Answer:
    kept = webhook_secrets.opened(delivery.webhook)
    body = webhook_messages.content(delivery.body)
    headers = standard_webhooks.headers(kept.now(), message_id=delivery.message_id, body=body)
    return standard_webhooks.post(kept.url, body, headers)


def _turn_off(webhook: Webhook, answer: Answer, now: datetime) -> None:
    if answer.gone:
        webhooks.turn_off(webhook, "Its receiver answered 410: it takes no more messages.")
        return
    since = Webhook.objects.filter(pk=webhook.pk).values_list("failing_since", flat=True).first()
    if since is not None and since <= now - GIVEN_UP:
        days = GIVEN_UP.days
        webhooks.turn_off(webhook, f"Nothing was taken for {days} days. Last: {answer.error}")


def _pause(tries: int) -> timedelta:
    """Before the try that follows so many: a step, and up to a tenth of it by chance, so that many
    that failed together do not come back together."""
    return BACK_OFF[tries - 1] * (1 + JITTER * random.random())  # noqa: S311 - no secret


def _kept(answer: Answer, now: datetime) -> JSON:
    return {
        "at": now.isoformat(),
        "status": answer.status,
        "milliseconds": answer.milliseconds,
        "error": answer.error,
        "answer": answer.text[:SHOWN_ANSWER].replace("\x00", "\ufffd"),
    }


def _waiting(delivery: WebhookDelivery) -> QuerySet[WebhookDelivery]:
    return WebhookDelivery.objects.filter(pk=delivery.pk, status=Status.WAITING)


def _due(now: datetime) -> QuerySet[WebhookDelivery]:
    on = Webhook.objects.filter(is_on=True)
    return WebhookDelivery.objects.filter(status=Status.WAITING, due_at__lte=now, webhook__in=on)
