"""Runs as REST answers them, straight from a few columns: a list of a hundred costs milliseconds.

`run_serializers.RunShape` declares the same for OpenAPI; a test holds one against the other, field
by field.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import F

from distillhub.lib.errors import Missing
from training.models import Run
from training.services import queue, runs

#: Of a whole error report; the trace and the last lines are in the console.
REPORTED = ("code", "detail", "cause", "title", "step", "steps", "attempt", "memory", "advice")

#: Columns that are answered, or tell what is.
OWN = (
    "number", "name", "status", "origin", "stage", "task", "config", "metrics", "summary",
    "comparison", "attempt", "error", "notes", "tags", "priority", "queue", "fraction", "step",
    "steps", "eta_seconds", "pause_requested_at", "created_at", "started_at", "finished_at",
    "heard_at", "arm", "colour", "archived_at",
)  # fmt: skip
#: What is answered of other rows: names and numbers, joined in, where the rows themselves would be
#: read again for each run.
JOINED = {
    "dataset_name": F("dataset_version__dataset__name"),
    "dataset_number": F("dataset_version__number"),
    "student_name": F("student__model__name"),
    "student_number": F("student__number"),
    "output_name": F("output__model__name"),
    "output_number": F("output__number"),
    "worker_name": F("worker__name"),
    "username": F("created_by__username"),
    "controlled": F("control_of__number"),
    "study_number": F("study__number"),
}


def represented(pks: Sequence[int]) -> list[dict[str, Any]]:
    """Those runs, in this order; one that was deleted a moment ago is left out. Three queries, and
    six more where some of them wait."""
    rows = Run.objects.annotate(**JOINED).only(*OWN).in_bulk(pks)
    shown = [rows[pk] for pk in pks if pk in rows]
    controls = dict(
        Run.objects.filter(control_of__in=pks)
        .order_by("number")
        .values_list("control_of", "number")
    )
    awaited = _awaited(pks)
    places = queue.places(shown)
    return [
        _represented(run, controls.get(run.pk), awaited.get(run.pk, []), places.get(run.pk))
        for run in shown
    ]


def one(run: Run) -> dict[str, Any]:
    """That run, as it is now. Raises Missing where it was deleted meanwhile."""
    found = represented([run.pk])
    if not found:
        raise Missing(f"There is no run {run.number} in this project.")
    return found[0]


def _awaited(pks: Sequence[int]) -> dict[int, list[int]]:
    """Numbers of the runs that each waits for, or waited."""
    rows = Run.waits_for.through.objects.filter(from_run__in=pks).order_by("to_run__number")
    numbers: dict[int, list[int]] = {}
    for pk, number in rows.values_list("from_run", "to_run__number"):
        numbers.setdefault(pk, []).append(number)
    return numbers


def _represented(
    run: Any, control: int | None, awaited: list[int], place: queue.Place | None
) -> dict[str, Any]:
    config = run.config
    return {
        "number": run.number,
        "name": run.name,
        "status": run.status,
        "origin": run.origin,
        "stage": run.stage,
        "progress": {
            "fraction": run.fraction,
            "step": run.step,
            "steps": run.steps,
            "eta_seconds": run.eta_seconds,
        },
        "task": run.task,
        "config": config,
        "dataset": f"{run.dataset_name}@{run.dataset_number}" if run.dataset_number else None,
        "student": f"{run.student_name}@{run.student_number}"
        if run.student_number
        else config.get("student"),
        "teachers": [
            one if isinstance(one, str) else one["model"] for one in config.get("teachers", [])
        ],
        "output": f"{run.output_name}@{run.output_number}" if run.output_number else None,
        "metrics": run.metrics,
        "summary": run.summary,
        "comparison": run.comparison,
        "attempt": run.attempt,
        "worker": run.worker_name,
        "error": run.error and {name: run.error[name] for name in REPORTED if name in run.error},
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "finished_at": _time(run.finished_at),
        "heard_at": _time(run.heard_at),
        "created_by": run.username,
        "notes": run.notes,
        "tags": run.tags,
        "colour": run.colour,
        "archived_at": _time(run.archived_at),
        "study": run.study_number,
        "arm": run.arm,
        "control_of": run.controlled,
        "control": control,
        "waits_for": awaited,
        "priority": run.get_priority_display(),
        "queue": place and place.as_dict(),
        "pausing": run.is_pausing,
        "actions": runs.actions(run),
    }


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat().replace("+00:00", "Z") if moment else None
