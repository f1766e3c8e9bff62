"""A signal beside its reference: how its values spread in a window, or in all of a stretch."""

from typing import Any

from training.models import Monitor
from training.views.monitor_parts import Stretch

JSON = dict[str, Any]


def of(monitor: Monitor, found: Stretch, key: str, number: int | None) -> JSON | None:
    return None
