"""Groups of the table of runs: how many each has, and how good they are on average."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Avg, Count

from distillhub.templatetags import ui
from projects.models import Project
from training.services import run_fields, run_filters

NO_GROUP = "none"  # the name of those that have nothing to be grouped by


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    count: int  # on all pages
    mean: float | None  # of their test scores


def found(runs: Any, project: Project) -> dict[str, Group]:
    """By name, with the mean of the test scores that runs are judged by. One query."""
    score = run_filters.headline("test", project)
    counted = runs.order_by().values("grouped").annotate(count=Count("pk"), mean=Avg(score))
    groups = {}
    for one in counted:
        name, mean = ui.setting(one["grouped"], NO_GROUP), one["mean"]
        groups[name] = Group(name, one["count"], None if mean is None else abs(mean))
    return groups


def begin(rows: Sequence[Any], grouped: str, groups: dict[str, Group]) -> None:
    """Mark the rows at which a group begins on this page."""
    before = None
    for row in rows:
        name = ui.setting(_group_of(row, grouped), NO_GROUP)
        if name != before:
            row.group = groups.get(name) or Group(name, 0, None)
        before = name


def _group_of(row: Any, grouped: str) -> Any:
    run = row.run
    match grouped:
        case "dataset":
            return str(run.dataset_version) if run.dataset_version else None
        case "student":
            return run.student_name
        case "by":
            return run.created_by.username
        case "study":
            return run.study_name
        case "status" | "task":
            return getattr(run, grouped)
        case _:
            return run_fields.value_of(run, grouped)
