"""Messages on their way: claimed one at a time, sent, tried again, given up.

    claim     compare-and-set of `tries`; for LEASE it is this process's, then anybody's again
    gather    what else waits for the channel goes with it, as one message (`within`)
    send      alert_senders.py; a process that dies here sends again, under the same id
    settle    sent; or due again after BACK_OFF; or failed, after the last try

A channel is sent one message a minute at most, and MOST_AN_HOUR an hour (unless something is
critical): what comes meanwhile is gathered into the next, so that fifty incidents at once are no
fifty messages.
"""

import logging
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from distillhub.lib import leases, told
from training.engine.alerting import SEVERITIES
from training.models import AlertChannel, AlertMessage
from training.worker import alert_senders, incident_words

log = logging.getLogger(__name__)

Status = AlertMessage.Status

LEASE = timedelta(minutes=2)  # longer than any sender may take
BETWEEN = timedelta(minutes=1)  # two messages to one channel
MOST_AN_HOUR = 12
#: After each try that failed; as many tries as there are steps, and one.
BACK_OFF = (
    timedelta(seconds=15),
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
)
MOST_TOLD = 40  # changes that a message tells each by itself


def deliver(channel_id: int, *, now: datetime | None = None) -> int:
    """Send what is due to a channel; how many messages went out. Harmless in two processes."""
    sent = 0
    while leases.takes_more():
        message = claim(channel_id, now=now or timezone.now())
        if message is None:
            break
        with told.about(channel=channel_id, message=message.pk):
            sent += send(message, now=now)
    return sent


def claim(channel_id: int, *, now: datetime) -> AlertMessage | None:
    """The first message that is due, with what is gathered into it; None when nothing is, or the
    channel has had enough for now."""
    with transaction.atomic():
        channel = AlertChannel.objects.select_for_update().filter(pk=channel_id, is_on=True).first()
        if channel is None:
            return None
        due = _waiting(channel).filter(due_at__lte=now).order_by("due_at", "pk")
        message: AlertMessage | None = due.first()
        if message is None:
            return None
        if message.tries == 0:
            rested = _rested(channel, now, due)
            if rested > now:
                due.filter(tries=0).update(due_at=rested)
                message = due.first()  # one that is tried again needs no rest
                if message is None:
                    return None
        tries = message.tries
        if tries == 0:
            _gather(message, now)
        mine = _waiting(channel).filter(pk=message.pk, tries=tries)
        if not mine.update(tries=tries + 1, due_at=now + LEASE):
            return None
    message.tries = tries + 1
    message.channel = channel
    return message


def send(message: AlertMessage, *, now: datetime | None = None) -> bool:
    """Never raises for what a channel does: that is written to the message."""
    try:
        alert_senders.send(message)
    except alert_senders.Refused as refused:
        _failed(message, str(refused), now or timezone.now(), for_good=refused.for_good)
        return False
    except Exception as surprise:
        log.exception("A message met a surprise.")
        text = f"It met a surprise: {type(surprise).__name__}."
        _failed(message, text, now or timezone.now(), for_good=False)
        return False
    sent_at = now or timezone.now()
    with transaction.atomic():
        for rows in (_own(message), message.carried.all()):
            rows.update(status=Status.SENT, sent_at=sent_at, error="")
    return True


def send_again(message: AlertMessage) -> AlertMessage:
    """Put one that was sent or given up into the line once more, under the id it had."""
    head = message.within or message
    AlertMessage.objects.filter(pk=head.pk).exclude(status=Status.WAITING).update(
        status=Status.WAITING, tries=1, due_at=timezone.now(), error="", sent_at=None
    )
    head.carried.update(status=Status.WAITING, sent_at=None, error="")
    head.refresh_from_db()
    return head


def _own(message: AlertMessage) -> Any:
    return AlertMessage.objects.filter(pk=message.pk)


def _waiting(channel: AlertChannel) -> Any:
    return AlertMessage.objects.filter(channel=channel, status=Status.WAITING, within=None)


def _rested(channel: AlertChannel, now: datetime, due: Any) -> datetime:
    """From when on the channel may be sent a new message of what is due."""
    hour = AlertMessage.objects.filter(
        channel=channel, within=None, sent_at__gt=now - timedelta(hours=1)
    )
    newest = hour.order_by("-sent_at").values_list("sent_at", flat=True)[:MOST_AN_HOUR]
    times = [one for one in newest if one is not None]
    if not times:
        return now
    after = times[0] + BETWEEN
    if len(times) < MOST_AN_HOUR or due.filter(body__severity=SEVERITIES[-1]).exists():
        return after
    return max(after, times[-1] + timedelta(hours=1))


def _gather(head: AlertMessage, now: datetime) -> None:
    """What else is due for the channel and was never tried goes with this one."""
    others = _waiting(head.channel).filter(tries=0, due_at__lte=now).exclude(pk=head.pk)
    found = list(others.order_by("due_at", "pk"))
    if not found:
        return
    bodies = [head.body, *(one.body for one in found)]
    worst = max((str(one["severity"]) for one in bodies), key=SEVERITIES.index)
    incidents = sorted({one["incident"] for one in bodies if one.get("incident")})
    title = head.body["title"]
    if len(incidents) > 1:
        title = f"{len(bodies)} changes of {len(incidents)} incidents"
    elif len(bodies) > 1:
        title = f"{bodies[-1]['title']} ({len(bodies)} changes)"
    head.body = {
        **head.body,
        "title": title,
        "severity": worst,
        "sentence": incident_words.cut(" ".join(one["sentence"] for one in bodies), 3000),
        "changes": bodies[:MOST_TOLD],
        "left_out": max(0, len(bodies) - MOST_TOLD),
    }
    head.save(update_fields=["body"])
    AlertMessage.objects.filter(pk__in=[one.pk for one in found]).update(within=head)


def _failed(message: AlertMessage, why: str, now: datetime, *, for_good: bool) -> None:
    changes: dict[str, Any] = {"error": incident_words.cut(why, 500)}
    given_up = for_good or message.tries > len(BACK_OFF)
    if given_up:
        changes |= {"status": Status.FAILED}
        log.warning("A message was given up: %s", why)
    with transaction.atomic():
        if given_up:
            message.carried.update(**changes)
        else:
            changes |= {"due_at": now + BACK_OFF[message.tries - 1]}
        _own(message).filter(status=Status.WAITING, tries=message.tries).update(**changes)
