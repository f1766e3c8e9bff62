"""What Prometheus is told of the fleet, in some fifteen queries however many rows there are."""

import shutil
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError
from django.db.models import Count, F, Min, Sum
from django.db.models.functions import Now
from django.utils import timezone

from distillhub import __version__
from distillhub.lib import exposition, readiness
from distillhub.lib.exposition import Family
from projects.models import DatasetVersion, ModelVersion
from training.engine.alerting import SEVERITIES
from training.models import Artifact, Incident, InferenceBatch, Run, Worker
from training.services import workers
from training.worker import reaper


def families() -> list[Family]:
    """Without the database: what this process knows by itself."""
    found = [_version(), _parts(), _disk(), exposition.latency()]
    try:
        return [*found, *_rows()]
    except DatabaseError:
        return found


def _version() -> Family:
    family = Family("distillhub_info", "gauge", "Always 1; which version this is.")
    family.add(1, version=__version__)
    return family


def _parts() -> Family:
    family = Family("distillhub_part_up", "gauge", "Whether a part answers this process: 1 or 0.")
    states = {name: part.state() for name, part in readiness.PARTS.items()}
    for name, state in {"database": readiness.database(), **states}.items():
        if state != readiness.UNKNOWN:
            family.add(state == readiness.OK, part=name)
    return family


def _disk() -> Family:
    family = Family("distillhub_home_free_bytes", "gauge", "Free on the disk of the home folder.")
    family.add(shutil.disk_usage(settings.DISTILLHUB_HOME).free)
    return family


def _rows() -> Iterator[Family]:
    yield _runs()
    yield from _queues()
    yield _jobs()
    yield from _workers()
    yield _stored()
    yield from _monitors()


def _runs() -> Family:
    family = Family("distillhub_runs", "gauge", "Runs by status.")
    counted = dict(Run.objects.order_by().values_list("status").annotate(Count("pk")))
    for status in Run.Status.values:
        family.add(counted.get(status, 0), status=status)
    return family


def _queues() -> Iterator[Family]:
    length = Family("distillhub_queue_runs", "gauge", "Runs that wait for a worker, by queue.")
    age = Family(
        "distillhub_queue_oldest_seconds", "gauge", "For how long the oldest of them has waited."
    )
    queued = Run.objects.filter(status=Run.Status.QUEUED).order_by()
    waiting = queued.values("queue").annotate(count=Count("pk"), since=Min("queued_at"), now=Now())
    found: dict[str, dict[str, Any]] = {one["queue"]: dict(one) for one in waiting}
    for queue in sorted({"default", *found}):
        one = found.get(queue)
        length.add(one["count"] if one else 0, queue=queue)
        age.add(_seconds(one["since"], one["now"]) if one else 0, queue=queue)
    yield length
    yield age


def _jobs() -> Family:
    """Besides runs."""
    family = Family(
        "distillhub_jobs_waiting", "gauge", "Other work that nobody has begun, by kind."
    )
    begun = DatasetVersion.objects.unclaimed()
    family.add(begun.count(), kind="ingestion")
    for work in reaper.WORKS:
        family.add(work.rows.unclaimed().count(), kind=work.verb)
    return family


def _workers() -> Iterator[Family]:
    alive = Family("distillhub_workers", "gauge", "Workers by state, those of the last day.")
    slots = Family("distillhub_worker_slots", "gauge", "Runs at once that a live worker takes.")
    busy = Family("distillhub_worker_runs", "gauge", "Runs that a live worker holds.")
    lag = Family(
        "distillhub_worker_journal_lag_bytes",
        "gauge",
        "What trainings of a live worker have told and no row says yet.",
    )
    recent = Worker.objects.filter(seen_at__gt=Now() - workers.FORGOTTEN)
    held = dict(Run.objects.running().order_by().values_list("worker").annotate(Count("pk")))
    states = dict.fromkeys(["online", "stopped", "lost"], 0)
    for worker in recent:
        state = workers.state(worker)
        states[state] = states.get(state, 0) + 1
        if state in {"stopped", "lost"}:
            continue
        slots.add(worker.capacity, worker=worker.name)
        busy.add(held.get(worker.pk, 0), worker=worker.name)
        lag.add(worker.load.get("journal_lag_bytes", 0), worker=worker.name)
    for state, count in states.items():
        alive.add(count, state=state)
    yield from (alive, slots, busy, lag)


def _stored() -> Family:
    family = Family(
        "distillhub_store_bytes",
        "gauge",
        "Bytes of the stored files that rows name; a file that two rows name counts twice.",
    )
    rows = DatasetVersion.objects.aggregate(total=Sum(F("file_bytes") + F("source_bytes")))
    family.add(rows["total"] or 0, kind="datasets")
    saved = Artifact.objects.aggregate(total=Sum("bytes"))
    family.add(saved["total"] or 0, kind="artifacts")
    models = ModelVersion.objects.aggregate(total=Sum("size_bytes"))
    family.add(models["total"] or 0, kind="models")
    return family


def _monitors() -> Iterator[Family]:
    waiting = Family(
        "distillhub_monitor_inbox_rows",
        "gauge",
        "Rows, labels and answers that monitors were sent and no look took in.",
    )
    age = Family(
        "distillhub_monitor_inbox_oldest_seconds",
        "gauge",
        "For how long the oldest of them has waited.",
    )
    found = InferenceBatch.objects.aggregate(count=Sum("rows"), since=Min("received_at"))
    waiting.add(found["count"] or 0)
    age.add(_seconds(found["since"], timezone.now()))
    incidents = Family("distillhub_incidents_open", "gauge", "Open incidents by severity.")
    counted = Incident.objects.open().order_by().values_list("severity").annotate(Count("pk"))
    by_severity = dict(counted)
    for severity in SEVERITIES:
        incidents.add(by_severity.get(severity, 0), severity=severity)
    yield from (waiting, age, incidents)


def _seconds(since: datetime | None, now: datetime) -> float:
    return max(0.0, (now - since).total_seconds()) if since is not None else 0.0
