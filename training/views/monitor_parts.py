"""What all pages of a monitor share: its head, the stretch of time that is looked at, and the
windows in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from projects import permissions
from projects.models import Project, Role
from training.charts.drift import At
from training.models import Incident, Monitor, MonitorWindow
from training.services import monitor_health, monitors, signals, windows

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


@dataclass(frozen=True, slots=True)
class Stretch:
    """Windows of a stretch of time, oldest first; `left` older ones of it are not among them."""

    key: str
    windows: list[MonitorWindow]
    left: bool
    older: str  # the address' `until` at which the older ones end

    @property
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
    return Stretch(key, found, left, older)


def _read(
    monitor: Monitor, key: str, until: datetime | None, columns: Sequence[str]
) -> list[MonitorWindow]:
    """Newest first, one more than are shown."""
    length = RANGES[key][1]
    since = None if length is None else (until or timezone.now()) - length
    found = windows.listed(monitor, since, until).filter(rows__gt=0).only(*COLUMNS, *columns)
    return list(found[: MOST + 1])


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
        "may_edit": project.my_role is not None and project.my_role.allows(Role.EDITOR),
    }


def ranged(found: Stretch) -> JSON:
    """What the range picker shows."""
    return {
        "ranges": [(key, words) for key, (words, _) in RANGES.items()],
        "range": found.key,
        "older": found.older,
        "most": MOST,
    }


def open_incident(monitor: Monitor) -> Incident | None:
    return monitor.incidents.open().select_related("owner", "window").first()


def rows_address(project: Project, monitor: Monitor) -> str:
    """To which charts add `?window=`."""
    return reverse("training:monitor_rows", args=[project.slug, monitor.name])
