"""Incidents, as alerts make them: opened by the first that opens, told of more, closed by the last.

A monitor has one open incident at most. Whoever calls holds the monitor's row (alerts.py).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from django.db.models import Max
from django.utils import timezone

from projects.models import Event, Project, User
from training.engine.alerting import SEVERITIES, Alert
from training.models import Incident, IncidentEvent, Monitor, MonitorWindow
from training.worker import incident_words
from training.worker.alert_rules import Said

JSON = dict[str, Any]

#: Lines of its history of which the project hears, and what they are called there.
TOLD = {"opened": "opened", "worsened": "worsened", "owner": "assigned", "closed": "closed"}


def open_of(monitor: Monitor) -> Incident | None:
    return Incident.objects.open().filter(monitor=monitor).first()


def begin(
    monitor: Monitor,
    *,
    since: datetime,
    severity: str,
    signals: list[JSON],
    facts: JSON,
    window: MonitorWindow | None = None,
) -> Incident:
    """Open one. Its number is the project's next."""
    Project.objects.select_for_update().get(pk=monitor.project_id)
    of_project = Incident.objects.filter(project_id=monitor.project_id)
    newest = of_project.aggregate(newest=Max("number"))["newest"] or 0
    return Incident.objects.create(
        project_id=monitor.project_id,
        number=newest + 1,
        monitor=monitor,
        severity=severity,
        signals=signals,
        sentence=incident_words.sentence(
            monitor, since=since, signals=open_signals(signals), facts=facts
        ),
        facts=facts,
        since=since,
        opened_at=timezone.now(),
        window=window,
    )


def tell(
    incident: Incident, kind: str, sentence: str, *, by: User | None = None, **data: Any
) -> IncidentEvent:
    """A line of its history; of some the project hears, too."""
    if kind in TOLD:
        facts: dict[str, Any] = {"owner": incident.owner.username if incident.owner else None}
        Event.objects.tell(
            project_id=incident.project_id,
            kind=f"incident.{TOLD[kind]}",
            subject=str(incident.number),
            title=f"{incident.monitor.name}: incident {incident.number}",
            sentence=incident_words.cut(sentence, 1000),
            by=by,
            data={
                "number": incident.number,
                "monitor": incident.monitor.name,
                "severity": incident.severity,
                "signals": open_signals(incident.signals),
                "since": incident.since.isoformat(),
                **(facts if TOLD[kind] == "assigned" else {}),
            },
        )
    return incident.events.create(kind=kind, sentence=sentence, by=by, data=data)


def open_signals(signals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of those that are open, worst first; of as bad ones those first that say the model
    errs, whatever the inputs do."""
    still = [one for one in signals if not one.get("closed_at")]
    still.sort(
        key=lambda one: (
            -_rank(one.get("severity")),
            one["signal"] not in incident_words.HARMFUL,
            -float(one.get("grade") or 0),
        )
    )
    return [str(one["signal"]) for one in still]


def worst(*severities: str | None) -> str:
    return max((one for one in severities if one), key=_rank, default=SEVERITIES[0])


def signals_now(
    before: Sequence[Mapping[str, Any]],
    alerts: Mapping[str, Alert],
    said: Mapping[str, Said | None],
    at: datetime,
) -> list[JSON]:
    """`signals` of an incident after a window: what is open, at its worst, and what was."""
    found: dict[str, JSON] = {str(one["signal"]): dict(one) for one in before}
    for name, alert in alerts.items():
        entry = found.get(name)
        if not alert.open:
            if entry is not None and not entry.get("closed_at"):
                entry["closed_at"] = at.isoformat()
            continue
        if entry is None or entry.get("closed_at"):
            entry = {"signal": name, "since": _time(alert.since), "effect": None, "detector": ""}
            entry |= {"grade": 0.0, "closed_at": None, "opened_at": _time(alert.opened)}
        entry["severity"] = alert.severity
        spoke = said.get(name)
        if spoke is not None and spoke.beyond and (spoke.reading.effect or 0) >= entry["grade"]:
            entry |= {"effect": spoke.effect, "detector": spoke.detector}
            entry["grade"] = spoke.reading.effect
        found[name] = entry
    return list(found.values())


def _rank(severity: str | None) -> int:
    return SEVERITIES.index(severity) if severity in SEVERITIES else -1


def _time(seconds: float | None) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat() if seconds is not None else None
