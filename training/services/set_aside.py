"""What was sent and could not be taken in: told, tried again, or deleted.

It goes by itself after a week (worker/inference_parts.py); nothing else waits for it.
"""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from training.models import InferenceBatch, Monitor
from training.worker import monitors

JSON = dict[str, Any]


def told(*, monitor: Monitor) -> list[JSON]:
    """The oldest first; without what was sent."""
    kept = ("id", "kind", "rows", "received_at", "error")
    return [{name: getattr(one, name) for name in kept} for one in _of(monitor).defer("body")]


def again(*, monitor: Monitor) -> int:
    """The next look takes them again, as after an update of the program; how many. One that still
    cannot be taken in is set aside again."""
    with transaction.atomic():
        number = _of(monitor).update(error="")
        if number:
            monitors.wake_after_commit(monitor)
    return number


def remove(*, monitor: Monitor) -> int:
    """For good; how many."""
    number, _ = _of(monitor).delete()
    return number


def _of(monitor: Monitor) -> QuerySet[InferenceBatch]:
    return InferenceBatch.every.filter(monitor=monitor).exclude(error="")
