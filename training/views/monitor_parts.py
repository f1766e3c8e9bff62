"""What all pages of a monitor share: its head, the stretch of time that is looked at, and the
windows in it."""

import contextlib
import gc
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from projects import permissions
from projects.models import Project, Role
from training.charts.drift import At
from training.models import Monitor, MonitorWindow
from training.services import monitor_health, monitor_marks, monitors, signals, windows
from training.worker import monitor_teacher

JSON = dict[str, Any]

RANGES = {
    "24h": ("24 h", timedelta(hours=24)),
    "7d": ("7 days", timedelta(days=7)),
    "30d": ("30 days", timedelta(days=30)),
    "all": ("all", None),
}
USUAL = "7d"
MOST = 1000  # windows of a page: a screen has no more columns
#: What charts need of a window; its sums, many kilobytes each, are left where they are.
COLUMNS = (
    "monitor_id", "number", "starts_at", "ends_at", "rows", "late_rows", "severity", "judged_at",
)  # fmt: skip


@dataclass(frozen=True)
class Stretch:
    """Windows of a stretch of time, oldest first; `left` older ones of it are not among them."""

    key: str
    windows: list[MonitorWindow]
    left: bool
    older: str  # the address' `until` at which the older ones end
    moves: Sequence[tuple[int, str]] = ()  # when its alias moved to which version

    @cached_property
    def places(self) -> list[At]:
        return [At(one.number, signals.milliseconds(one.starts_at)) for one in self.windows]


def stretch(request: HttpRequest, monitor: Monitor, *columns: str) -> Stretch:
    """What the address asks for by `range` and `until`; without, the last week, or all there is
    where nothing came in it."""
    asked = request.GET.get("range", "")
    until = _moment(request.GET.get("until", ""))
    key = asked if asked in RANGES else USUAL
    found = _read(monitor, key, until, columns)
    if not found and key != asked:
        key = "all"
        found = _read(monitor, key, until, columns)
    left = len(found) > MOST
    found = found[:MOST][::-1]
    older = str(signals.milliseconds(found[0].starts_at)) if left else ""
    moves = [(signals.milliseconds(at), to) for at, to in monitor_marks.moves(monitor)]
    return Stretch(key, found, left, older, moves)


def _read(
    monitor: Monitor, key: str, until: datetime | None, columns: Sequence[str]
) -> list[MonitorWindow]:
    """Newest first, one more than are shown."""
    length = RANGES[key][1]
    since = None if length is None else (until or timezone.now()) - length
    found = windows.listed(monitor, since, until).filter(rows__gt=0).only(*COLUMNS, *columns)
    with _uncollected():
        return list(found[: MOST + 1])


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Of a month of windows JSON becomes a hundred thousand objects, none of which is garbage: the
    collector, which looks through them again and again meanwhile, would take half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(text) / 1000, tz=timezone.get_current_timezone())
    except (ValueError, OverflowError, OSError):
        return None


def monitor_of(request: HttpRequest, project_slug: str, name: str) -> tuple[Project, Monitor]:
    project = permissions.project_for(request.user, project_slug)
    return project, monitors.find(project=project, name=name)


def frame(project: Project, monitor: Monitor, tab: str) -> JSON:
    """What _monitor_head.html shows."""
    return {
        "title": monitor.name,
        "section": "monitors",
        "project": project,
        "crumbs": [("Monitors", reverse("training:monitor_list", args=[project.slug]))],
        "monitor": monitor,
        "tab": tab,
        "health": monitor_health.health(monitor),
        "asked_today": monitor_teacher.asked_today(monitor),
        "is_daily_spent": monitor_teacher.is_spent(monitor),
        "may_edit": project.allows(Role.EDITOR),
    }


def ranged(found: Stretch) -> JSON:
    """What the range picker shows."""
    return {
        "ranges": [(key, words) for key, (words, _) in RANGES.items()],
        "range": found.key,
        "older": found.older,
        "most": MOST,
    }


def rows_address(project: Project, monitor: Monitor) -> str:
    """To which charts add `?window=`."""
    return reverse("training:monitor_rows", args=[project.slug, monitor.name])
