"""Monitors, their windows and what detectors say of them, as rows alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.utils import timezone

from distillhub.lib import standard_webhooks
from projects.models import Project
from training.models import AlertChannel, Monitor, MonitorWindow
from training.worker import alert_senders, alerts

JSON = dict[str, Any]

BEGAN = datetime(2026, 3, 2, tzinfo=UTC)


def monitor(project: Project, name: str = "intents-live", **fields: Any) -> Monitor:
    """One of hourly windows, whose reference stands."""
    columns: JSON = {
        "task": "text-classification",
        "labels": ["no", "yes"],
        "external": "the shop's classifier",
        "window_hours": 1.0,
        "reference": {"rows": 500},
        "fitted_at": BEGAN,
        "salt": "salt",
        "rows": 1000,
        "last_row_at": timezone.now(),
        "created_by": project.created_by,
    }
    return Monitor.objects.create(project=project, name=name, **(columns | fields))


def score(effect: float, p: float = 1e-6, detector: str = "psi", **more: Any) -> JSON:
    return {
        "detector": detector,
        "value": effect,
        "limit": 0.05,
        "p": p,
        "corrected": p,
        "effect": effect,
        "said": "",
        "facts": {},
        **more,
    }


CLEAN = score(0.0, 0.9)
MOVED = score(0.12)
FAR = score(0.4)


def window(of: Monitor, hour: int, said: Mapping[str, JSON] | None, **fields: Any) -> MonitorWindow:
    """The window that begins so many hours after BEGAN; each signal has one score."""
    starts = BEGAN + timedelta(hours=hour)
    columns: JSON = {
        "number": int(starts.timestamp() // 3600) if of.window_hours else hour,
        "starts_at": starts,
        "ends_at": starts + timedelta(hours=1),
        "rows": 500,
        "sums": b"",
        "scores": {name: [one] for name, one in (said or {}).items()},
        "facts": {"volume": 500, "most_foreign": ["row-7", "row-9"]},
    }
    return MonitorWindow.objects.create(monitor=of, **(columns | fields))


def hours(of: Monitor, *scores: Mapping[str, JSON] | None, since: int = 0) -> list[MonitorWindow]:
    """One window after another, each judged before the next is there."""
    made = []
    for hour, one in enumerate(scores, start=since):
        made.append(window(of, hour, one))
        alerts.judge(of)
    return made


def shifted(
    name: str = "input.age", windows: int = 2, by: JSON = MOVED
) -> Sequence[dict[str, JSON]]:
    return [{name: by}] * windows


def channel(project: Project, kind: str = "webhook", url: str = "", **fields: Any) -> AlertChannel:
    secret = standard_webhooks.make_secret()
    columns: JSON = {
        "name": kind,
        "place": "ops@example.com" if kind == "email" else "hooks.example.com",
        "sealed": "" if kind == "email" else alert_senders.seal(url=url, secret=secret),
        "created_by": project.created_by,
    }
    return AlertChannel.objects.create(project=project, kind=kind, **(columns | fields))
