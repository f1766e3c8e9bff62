"""When a monitor began to hold windows against another version: to be drawn, and to be said of
windows that were judged before."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from training.models import Monitor, MonitorWindow

JSON = dict[str, Any]


def moves(monitor: Monitor) -> list[tuple[datetime, str]]:
    """When its alias moved, and to which version, oldest first."""
    return [
        (datetime.fromisoformat(one["at"]), str(one["version"]))
        for one in monitor.marks
        if one["what"] == "moved"
    ]


def judged_against(monitor: Monitor, window: MonitorWindow) -> str:
    """The version whose reference a window was judged against; empty where it was not judged, or
    nobody knows."""
    if window.judged_at is None:
        return ""
    return _before(monitor.marks, window.judged_at)


def _before(marks: Sequence[JSON], when: datetime) -> str:
    found = ""
    for one in marks:
        if datetime.fromisoformat(one["at"]) > when:
            break
        found = str(one["version"] or "")
    return found
