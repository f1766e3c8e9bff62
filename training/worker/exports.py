"""Making exports: a child process writes one, opens it again and measures it, and the row says what
came of it. The row owns the export; a message is only a wake-up call.

One export at a time on a machine: two would measure each other's speed. What waits is taken by
whoever is at it.
"""

import contextlib
import fcntl
import logging
import shutil
import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from distillhub.lib import storage
from projects.models import ModelVersion
from training import catalog
from training.engine import journal
from training.models import Export, Run
from training.worker import child as children
from training.worker import dispatch, folders, machine, registration
from training.worker.registration import LEASE, in_future

log = logging.getLogger(__name__)

MAKE = "training.make_export"
PATIENCE = 12 * 3600.0  # seconds; some are trained
MOST_LOSSES = 3  # workers that may die with one
UNANSWERED = timedelta(seconds=10)  # after which a message is taken for lost
GLANCE = 0.2  # seconds between two looks at the child
BEAT = 5.0  # seconds between two renewals of the claim


def ask(export_id: int) -> bool:
    """Have a worker make it. With the broker away it waits, and the reaper asks again."""
    return dispatch.call(MAKE, export_id=export_id)


def queue(run: Run, version: ModelVersion) -> None:
    """The exports that a run's configuration asks for, of the version it made; with it or not at
    all. Its teacher is for compressors, and these have none."""
    for key in dict.fromkeys(run.config.get("exports", [])):
        export = Export.objects.create(
            version=version,
            format=key,
            options={one["name"]: one["default"] for one in catalog.options("exporters", key)},
            dataset_version=run.dataset_version,
            created_by=run.created_by,
        )
        transaction.on_commit(partial(ask, export.pk), robust=True)


def call_again() -> None:
    """Wake workers for what nobody makes: its message was lost, or its worker died."""
    waiting = Export.objects.filter(
        status=Export.Status.QUEUED, queued_at__lt=Now() - UNANSWERED
    ).order_by("pk")
    forgotten = [*waiting[:50], *Export.objects.abandoned()[:50]]
    for export in forgotten:
        ask(export.pk)


def make(export_id: int) -> None:
    """Make this export, then whatever else waits; ends quietly when there is nothing to do, or
    another process of this machine is at it."""
    with alone(machine.home() / "exports.lock") as ours:
        if not ours:
            return
        following: int | None = export_id
        while following is not None and not registration.stopping.is_set():
            export = _claim(following)
            if export is not None:
                _make(export)
            following = (
                Export.objects.filter(status=Export.Status.QUEUED)
                .order_by("pk")
                .values_list("pk", flat=True)
                .first()
            )


def _claim(export_id: int) -> Export | None:
    """Take it from the queue, or from a worker that is gone; None when it is not to be had."""
    taken: dict[str, Any] = {
        "status": Export.Status.WORKING,
        "attempt": F("attempt") + 1,
        "claimed_until": in_future(LEASE),
        "stage": "",
    }
    one = Export.objects.filter(pk=export_id)
    claimed = one.filter(status=Export.Status.QUEUED).update(**taken)
    claimed = claimed or one.abandoned().update(**taken, losses=F("losses") + 1)
    if not claimed:
        return None
    return Export.objects.select_related("version__model", "dataset_version", "teacher__model").get(
        pk=export_id
    )


def _make(export: Export) -> None:
    """One attempt, to whatever end. Never raises: what is unexpected fails this export only."""
    folder = machine.home() / f"export-{export.pk}"
    children.end_orphan(folder)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if export.losses >= MOST_LOSSES:
            _fail(export, "lost", f"{export.losses} workers died while they made it.")
            return
        folder.mkdir(parents=True)
        _prepare(export, folder)
        result = _result(export, folder)
        if result is not None:
            _write(export, result, folder)
    except storage.Damaged as error:
        _fail(export, "damaged", f"An input of this export is damaged: {error}")
    except Exception as error:
        log.exception("Export %s met a surprise.", export.pk)
        _fail(export, "crashed", f"The worker met a surprise: {error!r}"[:1000])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(export: Export, folder: Path) -> None:
    """Write `config.json` and place the inputs. Raises storage.Damaged."""
    dataset = export.dataset_version
    storage.local_copy(dataset.file_sha256, folder / "inputs/dataset.parquet")
    folders.place_files(export.version, folder / "inputs/model")
    teacher = None
    if export.teacher is not None:
        folders.place_files(export.teacher, folder / "inputs/teacher")
        teacher = {"name": export.teacher.reference, "path": "inputs/teacher"}
    folders.write_json(
        folder / "config.json",
        {
            "format": folders.FORMAT,
            "task": export.version.model.task,
            "model": {"name": export.version.reference, "path": "inputs/model"},
            "teacher": teacher,
            "store": str(Path(settings.DISTILLHUB_HOME) / "teacher-outputs"),
            "dataset": {
                "path": "inputs/dataset.parquet",
                "sha256": dataset.file_sha256,
                "fingerprint": dataset.fingerprint,
                "labels": dataset.labels,
                "problem": dataset.problem,
                "separator": dataset.separator,
                "columns": dataset.features,
            },
            "export": export.wish,
            "threads": settings.DISTILLHUB_RUN_THREADS,
        },
    )


def _result(export: Export, folder: Path) -> dict[str, Any] | None:
    """What the child found; None when this process has to leave before it is done, or the export
    is no longer ours."""
    child = children.spawn(
        folder, verb="export", name="export", threads=settings.DISTILLHUB_RUN_THREADS
    )
    until = time.monotonic() + PATIENCE
    beat_at = 0.0
    try:
        while child.poll() is None and time.monotonic() < until:
            if registration.stopping.is_set():
                _held(export).update(status=Export.Status.QUEUED, claimed_until=None, stage="")
                return None
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + BEAT
                stage = _stage(folder)
                if not _held(export).update(stage=stage, claimed_until=in_future(LEASE)):
                    log.warning("Export %s is made elsewhere, or gone.", export.pk)
                    return None
            time.sleep(GLANCE)
        if child.poll() is None:
            return {"failed": {"code": "timeout", "sentence": "It took longer than 12 hours."}}
    finally:
        if child.poll() is None:
            child.kill()
    result = folders.read_json(folder / "result.json")
    if isinstance(result, dict):
        return result
    log.error("Export %s left no result: %s", export.pk, child.said_last(20))
    sentence = "It ended without a result: probably this machine's memory is too small."
    return {"failed": {"code": "crashed", "sentence": sentence}}


def _stage(folder: Path) -> str:
    """What the child does now: its stage, and the last thing it said there."""
    stage = said = ""
    for line in journal.read(folder / "journal.jsonl"):
        if line["type"] == "stage":
            stage, said = line["name"], ""
        elif line["type"] == "logged":
            said = line["text"]
    return (f"{stage}: {said}" if said else stage)[:100]


def _write(export: Export, result: dict[str, Any], folder: Path) -> None:
    failed = result.get("failed")
    if failed:
        _fail(export, str(failed["code"]), str(failed["sentence"])[:2000])
        return
    files = []
    for file in result["files"]:
        blob = storage.put(folder / "output" / file["name"])
        files.append({"name": file["name"], "sha256": blob.sha256, "bytes": blob.bytes})
    _held(export).update(
        status=Export.Status.READY,
        stage="",
        error=None,
        files=files,
        report=result["report"],
        claimed_until=None,
        finished_at=Now(),
    )


def _fail(export: Export, code: str, detail: str) -> None:
    _held(export).update(
        status=Export.Status.FAILED,
        stage="",
        error={"code": code, "detail": detail},
        claimed_until=None,
        finished_at=Now(),
    )


def _held(export: Export) -> Any:
    """The row, as long as this attempt is the one that makes it."""
    return Export.objects.held(pk=export.pk, attempt=export.attempt)


@contextlib.contextmanager
def alone(lock: Path) -> Iterator[bool]:
    """Whether no other process or thread of this machine is at it; the kernel frees the lock of one
    that died."""
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
