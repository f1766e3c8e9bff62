"""From events to who hears of them: notifications, deliveries to webhooks, messages to channels.

    fan_out()        every event of which nothing was made yet, oldest first:
        told_at      compare-and-set, in one transaction with all that is made of the event
        Notification       for each person whom it concerns (projects/services/notifications.py)
        WebhookDelivery    for each webhook that wants its kind
        AlertMessage       for each channel that hears its kind

Exactly once, whoever dies when, and in two processes at the same moment: who comes second finds
`told_at` set. What cannot be made of one event keeps the others from nothing, and is tried again.
"""

import logging
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from distillhub.lib import leases, told
from projects.models import Event, Webhook, WebhookDelivery
from projects.services import notifications, subjects, webhook_messages, webhooks
from training.engine.alerting import SEVERITIES
from training.models import AlertChannel, AlertMessage
from training.worker import alert_messages

log = logging.getLogger(__name__)

AT_A_TIME = 200  # events that are looked up at once
#: What cannot be made for so long never will: the event is of the feed alone then.
KEPT_TRYING = timedelta(days=1)
#: Kinds of which channels hear by their monitors' rules (alert_messages.py), and by no other.
OF_MONITORS = frozenset({"incident.opened", "incident.worsened", "incident.closed"})


def fan_out() -> int:
    """How many events were told. Harmless to repeat."""
    done, after = 0, 0
    while leases.takes_more():
        found = list(
            Event.objects.untold()
            .filter(pk__gt=after)
            .order_by("pk")
            .values_list("pk", flat=True)[:AT_A_TIME]
        )
        if not found:
            break
        for event_id in found:
            done += _told(event_id)
        after = found[-1]
    return done


def _told(event_id: int) -> bool:
    with told.about(event=event_id):
        try:
            return tell(event_id)
        except DatabaseError as error:
            log.warning("It is told later: the database is away. %s", error)
            connection.close()
        except Exception:
            log.exception("Nobody could be told of it.")
            old = Event.objects.untold().filter(at__lt=timezone.now() - KEPT_TRYING)
            old.filter(pk=event_id).update(told_at=timezone.now())
    return False


def tell(event_id: int) -> bool:
    """False where another process has told it, or it is gone."""
    with transaction.atomic():
        if not Event.objects.untold().filter(pk=event_id).update(told_at=timezone.now()):
            return False
        event = Event.objects.select_related("project", "by").get(pk=event_id)
        notifications.make(event)
        _deliveries(event)
        _messages(event)
    return True


def _deliveries(event: Event) -> None:
    hooks = [
        one
        for one in Webhook.objects.filter(project=event.project_id, is_on=True)
        if not one.events or event.kind in one.events
    ]
    if not hooks:
        return
    now = timezone.now()
    WebhookDelivery.objects.bulk_create(
        [
            WebhookDelivery(
                webhook=one,
                event=event,
                message_id=webhook_messages.message_id(one.pk, event.pk),
                kind=event.kind,
                body=webhook_messages.body_of(event),
                due_at=now,
            )
            for one in hooks
        ],
        ignore_conflicts=True,
    )
    for one in hooks:
        webhooks.wake(one)


def _messages(event: Event) -> None:
    if event.kind in OF_MONITORS:
        return
    channels = [
        one
        for one in AlertChannel.objects.filter(project=event.project_id, is_on=True)
        if event.kind in one.hears
    ]
    if not channels:
        return
    body, now = channel_body(event), timezone.now()
    AlertMessage.objects.bulk_create(
        [
            AlertMessage(channel=one, key=f"event-{event.pk}", body=body, due_at=now)
            for one in channels
        ],
        ignore_conflicts=True,
    )
    for one in channels:
        alert_messages.wake(one)


def channel_body(event: Event) -> dict[str, Any]:
    """As bodies about incidents are (alert_messages.py), so that one message may hold both."""
    about = subjects.said(event.subject_kind, event.subject, event.title)
    kind = event.kind.replace(".", " ").replace("_", " ")
    return {
        "kind": event.kind,
        "title": f"{event.project.name}: {about} ({kind})",
        "sentence": event.sentence,
        "severity": SEVERITIES[0],
        "project": event.project.slug,
        "at": event.at.isoformat(),
        "url": subjects.link(
            slug=event.project.slug, kind=event.subject_kind, reference=event.subject
        ),
    }
