"""Rows of a window among those of its reference, as a picture."""

from typing import Any

from projects.models import Project
from training.models import Monitor, MonitorWindow

JSON = dict[str, Any]


def of(project: Project, monitor: Monitor, window: MonitorWindow) -> JSON | None:
    return None
