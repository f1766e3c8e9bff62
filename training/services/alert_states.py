"""The alert of each signal of a monitor: its state, its rules, and its silence by hand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from distillhub.lib.errors import Invalid, Missing
from projects.models import User
from training.engine import alerting
from training.engine.alerting import Alert
from training.models import Monitor, SignalAlert
from training.worker import alert_rules, alerts, incident_words, incidents

JSON = dict[str, Any]
LONGEST_MUTE = timedelta(days=365)
WORST_FIRST = ("firing", "recovering", "pending", "muted", "no_data", "ok")


def listed(*, monitor: Monitor) -> list[JSON]:
    """Each signal that was ever judged: worst first."""
    rows = [_told(monitor, row) for row in SignalAlert.objects.filter(monitor=monitor)]
    return sorted(
        rows,
        key=lambda one: (WORST_FIRST.index(one["state"]), -_rank(one["severity"]), one["signal"]),
    )


def mute(*, monitor: Monitor, signal: str, until: datetime | None, by: User) -> JSON:
    """Silent for windows that end by then; None: heard again. Raises Missing and Invalid."""
    now = timezone.now()
    if until is not None and not now < until <= now + LONGEST_MUTE:
        sentence = f"It lies ahead, by at most {LONGEST_MUTE.days} days."
        raise Invalid(sentence, fields={"muted_until": [sentence]})
    with transaction.atomic():
        Monitor.objects.select_for_update().get(pk=monitor.pk)
        row = SignalAlert.objects.filter(monitor=monitor, signal=signal).first()
        if row is None:
            raise Missing(f"{monitor.name} has no alert of {signal[:100]}.")
        before = Alert.from_dict(row.kept) if row.kept else Alert()
        if until is not None:
            alert = alerting.mute(before, until.timestamp())
            said = f"{by.display_name} muted {incident_words.called(signal)} until "
            said += f"{incident_words.moment(until, monitor)}."
        else:
            alert = replace(before, muted_until=None)
            alert = replace(alert, state=alerts.quiet_state(alert))
            said = f"{by.display_name} wants to hear of {incident_words.called(signal)} again."
        row.state, row.kept = alert.state, alert.as_dict()
        row.save(update_fields=["state", "kept", "changed_at"])
        incident = incidents.open_of(monitor)
        if incident is not None:
            incidents.tell(incident, "muted", said, by=by, signal=signal)
    return _told(monitor, row)


def rules(*, monitor: Monitor) -> list[JSON]:
    """Each kind of signals with its rules, as the form shows them: what is usual, and what this
    monitor asks instead."""
    asked: Mapping[str, JSON] = monitor.rules if isinstance(monitor.rules, dict) else {}
    found = []
    for kind, label in alert_rules.KINDS.items():
        resolved = alert_rules.as_dict(alert_rules.rules_of(monitor, kind))
        found.append(
            {
                "kind": kind,
                "label": label,
                "usual": alert_rules.as_dict(alert_rules.usual(kind)),
                "rules": resolved,
                "asked": asked.get(kind, {}),
            }
        )
    return found


def _told(monitor: Monitor, row: SignalAlert) -> JSON:
    kept: JSON = row.kept or {}
    return {
        "signal": row.signal,
        "called": incident_words.called(row.signal),
        "kind": alert_rules.kind_of(row.signal),
        "state": row.state,
        "severity": row.severity or None,
        "since": _time(kept.get("since")),
        "opened_at": _time(kept.get("opened")),
        "muted_until": _time(kept.get("muted_until")),
        "clean_windows": kept.get("clean", 0),
        "recent": [one is not None for one in kept.get("recent") or []],
        "judged_until": _time(kept.get("at")),
        "rules": alert_rules.as_dict(alert_rules.rules_of(monitor, row.signal)),
    }


def _rank(severity: str | None) -> int:
    return alerting.SEVERITIES.index(severity) if severity in alerting.SEVERITIES else -1


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
