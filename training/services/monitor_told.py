"""A monitor as REST tells it: what was asked, with every default filled in, and how it is. What it
says of `model`, `reference`, `window` and the rest can be sent again to make another one."""

from collections.abc import Sequence
from typing import Any

from training.models import Monitor
from training.services import canaries, monitor_health, retraining_policy
from training.services.monitor_health import Health
from training.worker import monitor_teacher

JSON = dict[str, Any]


def one(monitor: Monitor) -> JSON:
    found = canaries.of(monitor)
    return several([monitor])[0] | {"canaries": found.told if found is not None else None}


def several(monitors: Sequence[Monitor]) -> list[JSON]:
    found = monitor_health.of(monitors)
    return [_told(monitor, found[monitor.pk]) for monitor in monitors]


def asked(monitor: Monitor) -> JSON:
    """As it would be sent."""
    return {
        "name": monitor.name,
        "notes": monitor.notes,
        "model": model(monitor),
        "reference": reference(monitor),
        "window": window(monitor),
        "minimum_rows": monitor.minimum_rows,
        "schedule": {"grace_minutes": monitor.grace_minutes},
        "detectors": monitor.detectors,
        "correction": monitor.correction,
        "alerts": {"rules": monitor.rules, **monitor.alerting},
        "slices": monitor.slices,
        "teacher": monitor.teacher.reference if monitor.teacher is not None else None,
        "teacher_sample_rate": monitor.teacher_share,
        "teacher_daily": monitor.teacher_daily,
        "privacy": monitor.privacy,
        "retention_days": monitor.retention_days,
        "kept_share": monitor.kept_share,
        "retraining": retraining_policy.of(monitor),
    }


def model(monitor: Monitor) -> Any:
    """None where the model was deleted."""
    if monitor.external:
        told = {"external": monitor.external, "task": monitor.task, "labels": monitor.labels}
        return told | ({"several_labels": True} if monitor.several_labels else {})
    if monitor.model is not None and monitor.alias:
        return f"{monitor.model.name}@{monitor.alias}"
    return monitor.version.reference if monitor.version is not None else None


def reference(monitor: Monitor) -> Any:
    """None where the dataset was deleted."""
    if monitor.traffic_from is not None and monitor.traffic_until is not None:
        start, end = monitor.traffic_from.isoformat(), monitor.traffic_until.isoformat()
        return {"traffic": {"from": start, "until": end}}
    if monitor.dataset_version is None:
        return None
    return f"{monitor.dataset_version.reference}:{monitor.split}"


def window(monitor: Monitor) -> JSON:
    if monitor.window_rows is not None:
        return {"rows": monitor.window_rows}
    return {"hours": monitor.window_hours}


def _told(monitor: Monitor, health: Health) -> JSON:
    return {
        **asked(monitor),
        "task": monitor.task,
        "labels": monitor.labels,
        "several_labels": monitor.several_labels,
        "version": monitor.version.reference if monitor.version is not None else None,
        "is_paused": monitor.is_paused,
        "fitted_at": monitor.fitted_at,
        "found": monitor.reference,
        "marks": monitor.marks,
        "asked_today": monitor_teacher.asked_today(monitor),
        "is_daily_spent": monitor_teacher.is_spent(monitor),
        "rows": monitor.rows,
        "last_row_at": monitor.last_row_at,
        "health": {
            "state": health.state,
            "sentence": health.sentence,
            "incident": health.incident.number if health.incident is not None else None,
            "rows_today": health.rows_today,
            "windows": [
                {
                    "number": one.number,
                    "ends_at": one.ends_at,
                    "rows": one.rows,
                    "state": one.word,
                }
                for one in health.strip
            ],
        },
        "created_by": monitor.created_by.username,
        "created_at": monitor.created_at,
    }
