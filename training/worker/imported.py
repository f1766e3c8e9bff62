"""Runs that were found elsewhere become tracked runs of a project, each once.

A run that is here already gets what is new of it: points, parameters that it had not, and its end.
What people said of it since (name, notes, tags) stays theirs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.db.models import Sum
from django.db.models.functions import Now

from distillhub.lib import storage
from distillhub.lib.later import np
from training.models import (
    ExperimentRun,
    ImportedRun,
    MetricChunk,
    MetricSeries,
    Run,
    RunImport,
    TrackedFile,
)
from training.models.metric import Points
from training.models.run_import import files_of
from training.trackers import limits, reading
from training.worker import arrivals
from training.worker.metrics import Measured

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 20_000  # points written at once
STEP, POINT = 8, 24  # bytes in points.bin
ENDS = {
    "finished": Run.Status.FINISHED,
    "failed": Run.Status.FAILED,
    "cancelled": Run.Status.CANCELLED,
}
Found = dict[str, Any]  # a line of runs.jsonl


@dataclass(slots=True)
class Taken:
    """What became of a run."""

    run: Run
    is_new: bool
    has_changed: bool = False
    points: int = 0
    files: int = 0


def known(project_id: int, keys: list[str]) -> dict[str, int]:
    """Of runs that are here already their numbers, by key: imported, or logged here by a client of
    MLflow."""
    found = dict(
        ImportedRun.objects.filter(project=project_id, key__in=keys).values_list(
            "key", "run__number"
        )
    )
    ours = {key.partition(":")[2]: key for key in keys if key.startswith("mlflow:")}
    logged = ExperimentRun.objects.filter(run__project=project_id, key__in=list(ours))
    for key, number in logged.values_list("key", "run__number"):
        found.setdefault(ours[key], number)
    return found


def begin(row: RunImport, found: Found) -> Taken | None:
    """The run, made or found again, with what is said of it; None for one that a client of MLflow
    logs here. In a transaction that holds the import's row."""
    key = str(found["key"])
    was = ImportedRun.objects.select_related("run").filter(project=row.project, key=key).first()
    if was is not None:
        run = Run.objects.select_for_update().get(pk=was.run_id)
        if _is_resumed(run, was, row):
            return Taken(run, is_new=True, has_changed=True, points=_measured(run))
        return Taken(run, is_new=False, has_changed=_described(run, was, row, found))
    if known(row.project_id, [key]):
        return None
    return Taken(_made(row, found), is_new=True, has_changed=True)


def _is_resumed(run: Run, was: ImportedRun, row: RunImport) -> bool:
    """Whether this very import made it, in an attempt whose worker is gone."""
    heard_since = run.heard_at is not None and run.heard_at >= row.queued_at
    return heard_since and was.by_import_id == row.pk


def _measured(run: Run) -> int:
    """Points that are here."""
    return MetricSeries.objects.filter(run=run).aggregate(many=Sum("count"))["many"] or 0


def _made(row: RunImport, found: Found) -> Run:
    status = ENDS[found["status"]]
    run = Run(
        project=row.project,
        number=Run.objects.next_number(row.project),
        name=found["name"],
        status=status,
        origin=Run.Origin.TRACKED,
        config={"params": found["params"]},
        tags=found["tags"],
        notes=found["notes"],
        created_by=row.created_by,
        started_at=_moment(found["started"]),
        finished_at=_ended(found) or Now(),
        heard_at=Now(),
        fraction=1.0 if status == Run.Status.FINISHED else 0.0,
        error=_error(status),
    )
    run.save()
    run.refresh_from_db()
    ImportedRun.objects.create(
        run=run,
        project=row.project,
        key=found["key"],
        place=row.place,
        about=found["about"],
        by_import=row,
    )
    tracker = reading.tracker_of(found["key"])
    sentence = f"Imported from {tracker} ({row.place})."
    if found["is_open"]:
        sentence += " It had not ended there; import it again for the rest."
    for left_out in found["left_out"][:3]:
        sentence += f" Left out: {left_out}"
    run.tell("imported", sentence, by=row.created_by)
    return run


def _described(run: Run, was: ImportedRun, row: RunImport, found: Found) -> bool:
    """Lay what is new over what is there; whether anything was."""
    changes: dict[str, Any] = {}
    params = dict(run.config.get("params", {}))
    fresh = {name: value for name, value in found["params"].items() if name not in params}
    if fresh and len(params) + len(fresh) <= limits.PARAMS:
        changes["config"] = {**run.config, "params": {**params, **fresh}}
    status, ended = ENDS[found["status"]], _ended(found)
    if run.is_final and run.cancel_requested_at is None and not found["is_open"]:
        if run.status != status:
            changes |= {"status": status, "error": _error(status)}
            changes["fraction"] = 1.0 if status == Run.Status.FINISHED else run.fraction
        if ended is not None and ended != run.finished_at:
            changes["finished_at"] = ended
    if was.place != row.place or was.about != found["about"]:
        ImportedRun.objects.filter(pk=was.pk).update(place=row.place, about=found["about"])
    if changes:
        Run.objects.filter(pk=run.pk).update(**changes, heard_at=Now())
        run.refresh_from_db()
    return bool(changes)


def batches(run: Run, found: Found, points: Path) -> Iterator[list[Measured]]:
    """What it measured that is not here yet, some thousand points at a time."""
    usual = (run.started_at or run.created_at).timestamp()
    batch: list[Measured] = []
    for one in found["series"]:
        fresh = _fresh(run, one["name"], _points(points, one["at"], one["count"], usual))
        for part in range(0, len(fresh), BATCH):
            piece = fresh[part : part + BATCH]
            batch += [
                Measured(one["name"], step, value, at)
                for step, value, at in zip(
                    piece.steps.tolist(), piece.values.tolist(), piece.times.tolist(), strict=True
                )
            ]
            if len(batch) >= BATCH:
                yield batch
                batch = []
    if batch:
        yield batch


def measure(run: Run, batch: list[Measured]) -> None:
    """In a transaction that holds the import's row."""
    held = Run.objects.select_for_update().only("metrics", "step").get(pk=run.pk)
    latest = arrivals.record(run, batch)
    step = max(held.step, *(point.step for point in batch))
    Run.objects.filter(pk=run.pk).update(
        metrics={**held.metrics, **latest}, step=step, heard_at=Now()
    )


def keep(run: Run, path: str, blob: storage.Blob) -> bool:
    """Lay a stored file beside a run; whether that changed anything. In a transaction that holds
    the import's row."""
    owner = files_of(run)
    was = TrackedFile.objects.filter(owner=owner, path=path).first()
    if was is not None and was.sha256 == blob.sha256:
        return False
    told = {"project": run.project, "sha256": blob.sha256, "bytes": blob.bytes}
    TrackedFile.objects.update_or_create(owner=owner, path=path, defaults=told)
    return True


def _points(file: Path, at: int, count: int, usual: float) -> Points:
    """Of one series, in order, each once; those without a time have the `usual` one."""
    with file.open("rb") as raw:
        raw.seek(at)
        whole = raw.read(POINT * count)
    steps = np.frombuffer(whole, "<i8", count)
    values = np.frombuffer(whole, "<f8", count, STEP * count)
    times = np.frombuffer(whole, "<f8", count, 2 * STEP * count)
    times = np.where(np.isfinite(times), times, usual)
    return arrivals.merged(Points.join([]), Points(steps, values, times))


def _fresh(run: Run, name: str, points: Points) -> Points:
    """Those that are not here yet."""
    series = MetricSeries.objects.filter(run=run, name=name).first()
    if series is None or not series.count:
        return points
    chunks = MetricChunk.objects.filter(series=series).order_by("index")
    here = Points.join([chunk.points for chunk in chunks])
    return points[~np.isin(_rows(points), _rows(here))]


def _rows(points: Points) -> Any:
    """Each point as one value of 24 bytes, to be compared whole; every NaN alike."""
    table = np.empty((len(points), 3), "<f8")
    table[:, 0] = points.steps
    table[:, 1] = np.where(np.isnan(points.values), np.nan, points.values + 0.0)
    table[:, 2] = points.times
    return np.ascontiguousarray(table).view("V24").ravel()


def _ended(found: Found) -> datetime | None:
    """A run of which no end is told ended when it measured last, or began."""
    return _moment(found["ended"]) or _moment(found["started"])


def _moment(seconds: float | None) -> datetime | None:
    if seconds is None or not math.isfinite(seconds):
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _error(status: str) -> dict[str, str] | None:
    if status != Run.Status.FAILED:
        return None
    return {"code": "failed", "detail": "It failed where it was trained."}
