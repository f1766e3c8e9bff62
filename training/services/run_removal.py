"""Deleting a run that is over. What it was asked, said and measured goes; the model version that it
made stays, and so do stored files that something else names. Its number is not used again."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Aggregate, Count, OuterRef, Q, QuerySet, Subquery, Sum

from distillhub.lib.errors import Conflict
from projects.models import Project
from projects.services import subjects
from training.models import (
    Artifact,
    ExperimentRun,
    ImportedRun,
    LoggedModel,
    MetricSeries,
    Run,
    TrackedFile,
)
from training.models.run_import import files_of
from training.services import metrics, tracked_files


@dataclass(frozen=True, slots=True)
class Losses:
    """What goes with a run: its controls by number, and what all of them measured and left."""

    controls: list[int]
    series: int
    files: int
    bytes: int


def losses(*, run: Run) -> Losses:
    """One query; of what is trained elsewhere three."""

    def of_each(rows: QuerySet[Any], what: Aggregate) -> Subquery:
        theirs = rows.filter(run=OuterRef("pk")).order_by().values("run")
        return Subquery(theirs.annotate(found=what).values("found"))

    gone = Run.objects.filter(Q(pk=run.pk) | Q(control_of=run)).order_by("number")
    rows = gone.values_list(
        "number",
        of_each(MetricSeries.objects.all(), Count("pk")),
        of_each(Artifact.objects.all(), Count("pk")),
        of_each(Artifact.objects.all(), Sum("bytes")),
    )
    numbers, series, files, sizes = zip(*rows, strict=True)
    kept = tracked_files.of_run(run) if run.is_tracked else []
    tracked = [file for _, beside in kept for file in beside]
    return Losses(
        controls=[number for number in numbers if number != run.number],
        series=sum(filter(None, series)),
        files=sum(filter(None, files)) + len(tracked),
        bytes=sum(filter(None, sizes)) + sum(file.bytes for file in tracked),
    )


def delete(*, run: Run) -> None:
    """Delete it and its controls at once, however much they measured: their points, gigabytes
    perhaps, are only let go of here, and a worker deletes them little by little.

    Raises Conflict while one of them is not over, or while another run waits for it.
    """
    with transaction.atomic():
        controls = list(Run.objects.select_for_update().filter(control_of=run))
        gone = [*controls, Run.objects.select_for_update().get(pk=run.pk)]
        for one in gone:
            if not one.is_final:
                raise Conflict(
                    f"Run {one.number} is {one.status}; cancel it first.", code="not_over"
                )
        waiting = Run.objects.unfinished().filter(waits_for__in=gone).first()
        if waiting is not None:
            raise Conflict(f"Run {waiting.number} waits for run {run.number}.", code="awaited")
        rows = Run.objects.filter(pk__in=[one.pk for one in gone])
        project = Project.objects.select_for_update().get(pk=run.project_id)
        project.last_deleted_run = max(project.last_deleted_run, *(one.number for one in gone))
        project.save(update_fields=["last_deleted_run"])
        metrics.detach(rows)
        _forget_files(rows)
        rows.delete()
        for one in gone:
            subjects.forget(project=project, kind="run", reference=str(one.number))


def _forget_files(runs: QuerySet[Run]) -> None:
    """What was imported with runs, and what MLflow's clients put beside them and beside models that
    these logged. Versions that are
    registered keep what they name; what nothing names is swept."""
    keys = list(ExperimentRun.objects.filter(run__in=runs).values_list("key", flat=True))
    imported = ImportedRun.objects.filter(run__in=runs).values_list("run", flat=True)
    keys += [files_of(number) for number in imported]
    if keys:
        logged = LoggedModel.objects.filter(run__in=runs)
        TrackedFile.objects.filter(
            owner__in=[*keys, *logged.values_list("key", flat=True)]
        ).delete()
        logged.delete()
