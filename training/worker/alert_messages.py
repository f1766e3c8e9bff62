"""What is sent about an incident: one row for each change and channel, made with the change.

    Monitor.alerting = {"channels": [names]   (left out: all of the project),
                        "least": "serious"    (left out: as each channel says),
                        "quiet_hours": {"from": "22:00", "until": "07:00",
                                        "zone": "Europe/Berlin", "days": [5, 6]},
                        "critical_breaks_through": true}

In quiet hours (and whole quiet days, Monday is 0) a message waits for their end; together with what
else waits for the channel it is then one (alert_delivery.py). A snoozed incident says nothing until
it is critical or the time is over.
"""

from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import NoReverseMatch, reverse
from django.utils import timezone

from training.engine.alerting import SEVERITIES
from training.models import AlertChannel, AlertMessage, Incident, Monitor
from training.worker import dispatch, incident_words

JSON = dict[str, Any]
Status = AlertMessage.Status

DELIVER = "training.deliver_alerts"
CRITICAL = "critical"
TITLES = {
    "opened": "opened",
    "worsened": "got worse",
    "recovering": "recovers",
    "closed": "is closed",
    "still_open": "is still open",
}


def about(incident: Incident, kind: str, sentence: str, *, key: str) -> int:
    """Queue a message to every channel that is to know; in the transaction of what it is about.
    How many were queued: the same key is sent once to a channel."""
    now = timezone.now()
    if _is_snoozed(incident, kind, now):
        return 0
    monitor = incident.monitor
    due = due_at(monitor, now, severity=incident.severity)
    body = body_of(incident, kind, sentence)
    if _rank(incident.severity) < _rank(str(_asked(monitor).get("least"))):
        return 0
    channels = [one for one in channels_of(monitor) if hears(one, incident.severity)]
    rows = [
        AlertMessage(channel=one, incident=incident, key=key, body=body, due_at=due)
        for one in channels
    ]
    AlertMessage.objects.bulk_create(rows, ignore_conflicts=True)
    for one in channels:
        wake(one)
    return len(rows)


def wake(channel: AlertChannel) -> None:
    """Have a worker send what waits for a channel, once this is committed."""
    channel_id = channel.pk
    transaction.on_commit(lambda: dispatch.call(DELIVER, channel_id=channel_id), robust=True)


def look_again() -> None:
    """Wake workers for what is due and nobody sends; say again what was snoozed and goes on."""
    now = timezone.now()
    for incident in Incident.objects.open().filter(snoozed_until__lte=now):
        with transaction.atomic():
            mine = Incident.objects.open().filter(pk=incident.pk, snoozed_until__lte=now)
            if mine.update(snoozed_until=None):
                key = f"snooze-{incident.pk}-{incident.snoozed_until:%Y%m%dT%H%M%S}"
                incident.snoozed_until = None
                about(incident, "still_open", f"Still open. {incident.sentence}", key=key)
    due = AlertMessage.objects.filter(
        status=Status.WAITING, within=None, due_at__lte=now, channel__is_on=True
    )
    for channel_id in due.order_by().values_list("channel", flat=True).distinct():
        dispatch.call(DELIVER, channel_id=channel_id)


def channels_of(monitor: Monitor) -> list[AlertChannel]:
    """To which the monitor's messages go."""
    found = AlertChannel.objects.filter(project_id=monitor.project_id, is_on=True)
    asked = _asked(monitor).get("channels")
    return list(found if asked is None else found.filter(name__in=asked))


def hears(channel: AlertChannel, severity: str) -> bool:
    return _rank(severity) >= _rank(channel.least)


def body_of(incident: Incident, kind: str, sentence: str) -> JSON:
    """What every channel's message is made of: plain facts, and no row of data."""
    monitor, project = incident.monitor, incident.project
    called = f"{project.name}: incident {incident.number} of {monitor.name}"
    return {
        "kind": kind,
        "title": f"{called} {TITLES[kind]}",
        "sentence": sentence,
        "severity": incident.severity,
        "project": project.slug,
        "monitor": monitor.name,
        "incident": incident.number,
        "since": incident.since.isoformat(),
        "at": timezone.now().isoformat(),
        "signals": [
            {name: one.get(name) for name in ("signal", "severity", "effect", "detector")}
            for one in incident.signals
            if not one.get("closed_at")
        ],
        "slices": [one["slice"] for one in (incident.facts or {}).get("slices") or []],
        "url": link(incident),
    }


def link(incident: Incident) -> str:
    try:
        path = reverse("training:incident_detail", args=[incident.project.slug, incident.number])
    except NoReverseMatch:  # a worker without pages
        path = f"/p/{incident.project.slug}/incidents/{incident.number}/"
    return f"{settings.SITE_URL.rstrip('/')}{path}"


# Quiet hours -------------------------------------------------------------------------------------


def due_at(monitor: Monitor, now: datetime, *, severity: str) -> datetime:
    """Now, or the end of the quiet hours that now is in."""
    quiet = _asked(monitor).get("quiet_hours")
    breaks = _asked(monitor).get("critical_breaks_through", True)
    if not quiet or (severity == CRITICAL and breaks):
        return now
    return end_of_quiet(quiet, now, incident_words.zone_of(monitor))


def end_of_quiet(quiet: JSON, now: datetime, zone: Any) -> datetime:
    """By the clocks of the zone, in summer as in winter."""
    starts, ends = _time(quiet.get("from")), _time(quiet.get("until"))
    days = frozenset(quiet.get("days") or ())
    at = now
    for _ in range(16):  # one after another, of at most a week of quiet days
        later = _leaves(at.astimezone(zone), starts, ends, days)
        if later is None:
            return at
        at = later
    return at


def _leaves(
    there: datetime, starts: time | None, ends: time | None, days: Iterable[int]
) -> datetime | None:
    """When the quiet day or the quiet hours of this moment end; None when it is in neither."""
    if there.weekday() in days:
        following = (there + timedelta(days=1)).date()
        return datetime.combine(following, time(), there.tzinfo)
    if starts is None or ends is None or starts == ends:
        return None
    clock = there.time()
    if starts < ends:
        inside, day = starts <= clock < ends, there.date()
    else:
        inside = clock >= starts or clock < ends
        day = there.date() + timedelta(days=1 if clock >= starts else 0)
    return datetime.combine(day, ends, there.tzinfo) if inside else None


def _time(text: Any) -> time | None:
    try:
        return time.fromisoformat(str(text))
    except ValueError:
        return None


def _asked(monitor: Monitor) -> JSON:
    return monitor.alerting if isinstance(monitor.alerting, dict) else {}


def _is_snoozed(incident: Incident, kind: str, now: datetime) -> bool:
    snoozed = incident.snoozed_until is not None and incident.snoozed_until > now
    return snoozed and not (incident.severity == CRITICAL and kind in {"opened", "worsened"})


def _rank(severity: str) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0
