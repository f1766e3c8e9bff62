"""Rows of a window among those of its reference, as a picture and as a list."""

from collections.abc import Sequence
from typing import Any

from django.urls import reverse
from django.utils.http import urlencode

from projects.models import Project
from training.charts import drift_rows
from training.models import Monitor, MonitorWindow
from training.services import window_scatter
from training.services.window_scatter import Point

JSON = dict[str, Any]
LISTED = 8


def of(project: Project, monitor: Monitor, window: MonitorWindow) -> JSON | None:
    found = window_scatter.of(monitor, window)
    if found is None:
        return None
    files = ""
    if not monitor.task.startswith("audio"):
        files = reverse("training:monitor_row_file", args=[project.slug, monitor.name])
    limit = ((monitor.reference or {}).get("far") or {}).get("0.99")
    # The farthest of a quiet window are no further than rows of the reference are themselves.
    foreign = [one for one in found.foreign if limit is None or (one.far or 0.0) > limit]
    live = [*found.live, *(one for one in found.foreign if one not in foreign)]
    return {
        "figure": drift_rows.scatter(
            # Rows of the reference open nothing: their key is empty.
            [drift_rows.Row(one.x, one.y, "", one.told) for one in found.reference],
            _rows(live, files),
            _rows(foreign, files),
        ),
        "foreign": [
            {
                "told": one.told,
                "far": one.far,
                "query": urlencode({"id": one.id}),
                "has_file": one.has_file and bool(files),
            }
            for one in found.foreign[:LISTED]
        ],
        "limit": limit,
        "beyond": len(foreign),
        "files": files,
        "live": len(found.live),
        "shares": found.shares,
    }


def _rows(points: Sequence[Point], files: str) -> list[drift_rows.Row]:
    return [
        drift_rows.Row(
            one.x,
            one.y,
            one.id,
            one.told,
            f"{files}?{urlencode({'id': one.id})}" if files and one.has_file else "",
        )
        for one in points
    ]
