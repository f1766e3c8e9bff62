"""Traffic that stopped: no window says so, since none comes. The clock does.

    Monitor.alerting = {"silence_hours": 6}      0: never; nothing: three windows, a day at least

A notice, closed when something comes again.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from training.engine.alerting import FIRING, MUTED, OK, Alert
from training.models import Monitor, MonitorLook, SignalAlert
from training.worker import alert_messages, incident_words, incidents
from training.worker.alert_rules import SILENCE

JSON = dict[str, Any]

USUAL = 24.0  # hours
WINDOWS = 3
SEVERITY = "notice"


def hours_of(monitor: Monitor) -> float:
    """After how many hours without a row it is told; 0: never."""
    asked = monitor.alerting.get("silence_hours") if isinstance(monitor.alerting, dict) else None
    if isinstance(asked, int | float) and not isinstance(asked, bool):
        return float(asked)
    return max(USUAL, WINDOWS * (monitor.window_hours or 0.0))


def last_came(monitor: Monitor) -> datetime | None:
    """When something last came, or says that it was: rows may tell of times long past."""
    looks = MonitorLook.objects.filter(monitor=monitor, fits=False, rows__gt=0)
    taken = looks.order_by("-finished_at").values_list("finished_at", flat=True).first()
    waiting = monitor.inbox.order_by("-pk").values_list("received_at", flat=True).first()
    return max((one for one in (monitor.last_row_at, taken, waiting) if one), default=None)


def look(monitor: Monitor, *, now: datetime | None = None) -> None:
    """Open the notice where it is due, and close it where something came again. Harmless to
    repeat, and in two processes at once."""
    now, hours = now or timezone.now(), hours_of(monitor)
    since = last_came(monitor)
    if since is None:
        return
    silent = bool(hours) and now - since >= timedelta(hours=hours)
    if silent == _kept(monitor).open:
        return
    with transaction.atomic():
        Monitor.objects.select_for_update().get(pk=monitor.pk)
        alert = _kept(monitor)
        if silent and not alert.open:
            _begin(monitor, alert, since=since, now=now)
        elif alert.open and not silent:
            _end(monitor, alert, now=now)


def _begin(monitor: Monitor, before: Alert, *, since: datetime, now: datetime) -> None:
    at = now.timestamp()
    if before.muted_until is not None and at <= before.muted_until:
        return
    if before.at is not None and since.timestamp() <= before.at:
        return  # it was told of this silence, and a person closed that
    began = Alert(state=FIRING, since=since.timestamp(), opened=at, severity=SEVERITY, at=at)
    _keep(monitor, began)
    entry: JSON = {"signal": SILENCE, "since": since.isoformat(), "effect": None, "detector": ""}
    entry |= {"grade": 1.0, "severity": SEVERITY, "opened_at": now.isoformat()}
    entry["closed_at"] = None
    key = f"silence-{monitor.pk}-{now:%Y%m%dT%H%M%S}"
    incident = incidents.open_of(monitor)
    said = f"Nothing came since {incident_words.moment(since, monitor)}: the traffic stopped."
    kind = "opened" if incident is None else "worsened"
    if incident is None:
        signals = [entry]
        incident = incidents.begin(
            monitor, since=since, severity=SEVERITY, signals=signals, facts={}
        )
    else:
        others = [one for one in incident.signals if one["signal"] != SILENCE]
        incident.signals = [*others, entry]
        incident.save(update_fields=["signals"])
    incidents.tell(incident, kind, said, opened=[SILENCE])
    alert_messages.about(incident, kind, said, key=key)


def _end(monitor: Monitor, alert: Alert, *, now: datetime) -> None:
    muted = alert.muted_until is not None and now.timestamp() <= alert.muted_until
    _keep(monitor, Alert(state=MUTED if muted else OK, muted_until=alert.muted_until, at=alert.at))
    incident = incidents.open_of(monitor)
    if incident is None:
        return
    for one in incident.signals:
        if one["signal"] == SILENCE and not one.get("closed_at"):
            one["closed_at"] = now.isoformat()
    said = "Traffic came again."
    over = not incidents.open_signals(incident.signals)
    if over:
        incident.closed_at = now
        said += " Closed: nothing else speaks against it."
    incident.save(update_fields=["signals", "closed_at"])
    kind = "closed" if over else "recovering"
    incidents.tell(incident, kind, said, closed=[SILENCE])
    alert_messages.about(incident, kind, said, key=f"traffic-{monitor.pk}-{now:%Y%m%dT%H%M%S}")


def _kept(monitor: Monitor) -> Alert:
    row = SignalAlert.objects.filter(monitor=monitor, signal=SILENCE).first()
    return Alert.from_dict(row.kept) if row is not None and row.kept else Alert()


def _keep(monitor: Monitor, alert: Alert) -> None:
    SignalAlert.objects.update_or_create(
        monitor=monitor,
        signal=SILENCE,
        defaults={
            "state": alert.state,
            "severity": alert.severity or "",
            "kept": alert.as_dict(),
        },
    )
