"""Asking teachers before they teach: a child process scores one on a dataset, and the row says what
came of it. The row owns the work; a message is only a wake-up call.

One gate at a time on a machine. What the teacher says goes into the machine's store, so that a run
there asks nothing again.
"""

import logging
import shutil
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import F
from django.db.models.functions import Now

from distillhub.lib import storage
from training.engine import journal
from training.models import TeacherGate
from training.worker import child as children
from training.worker import dispatch, folders, machine, registration, teacher_store
from training.worker.exports import alone
from training.worker.registration import LEASE, in_future

log = logging.getLogger(__name__)

ASK = "training.ask_teacher"
PATIENCE = 12 * 3600.0  # seconds; a large teacher on a CPU takes hours
MOST_LOSSES = 3  # workers that may die with one
UNANSWERED = timedelta(seconds=10)  # after which a message is taken for lost
GLANCE = 0.2  # seconds between two looks at the child
BEAT = 5.0  # seconds between two renewals of the claim


def ask(gate_id: int) -> bool:
    """Have a worker do it. With the broker away it waits, and the reaper asks again."""
    return dispatch.call(ASK, gate_id=gate_id)


def call_again() -> None:
    """Wake workers for what nobody works at: its message was lost, or its worker died."""
    waiting = TeacherGate.objects.filter(
        status=TeacherGate.Status.QUEUED, queued_at__lt=Now() - UNANSWERED
    ).order_by("pk")
    for gate in [*waiting[:50], *TeacherGate.objects.abandoned()[:50]]:
        ask(gate.pk)


def work(gate_id: int) -> None:
    """Work at this gate, then at whatever else waits; ends quietly when there is nothing to do, or
    another process of this machine is at it."""
    with alone(machine.home() / "gates.lock") as ours:
        if not ours:
            return
        following: int | None = gate_id
        while following is not None and not registration.stopping.is_set():
            gate = _claim(following)
            if gate is not None:
                _work(gate)
            following = (
                TeacherGate.objects.filter(status=TeacherGate.Status.QUEUED)
                .order_by("pk")
                .values_list("pk", flat=True)
                .first()
            )


def _claim(gate_id: int) -> TeacherGate | None:
    """Take it from the queue, or from a worker that is gone; None when it is not to be had."""
    taken: dict[str, Any] = {
        "status": TeacherGate.Status.WORKING,
        "attempt": F("attempt") + 1,
        "claimed_until": in_future(LEASE),
        "stage": "",
    }
    one = TeacherGate.objects.filter(pk=gate_id)
    claimed = one.filter(status=TeacherGate.Status.QUEUED).update(**taken)
    claimed = claimed or one.abandoned().update(**taken, losses=F("losses") + 1)
    if not claimed:
        return None
    return TeacherGate.objects.select_related("version__model", "dataset_version").get(pk=gate_id)


def _work(gate: TeacherGate) -> None:
    """One attempt, to whatever end. Never raises: what is unexpected fails this gate only."""
    folder = machine.home() / f"gate-{gate.pk}"
    children.end_orphan(folder)
    shutil.rmtree(folder, ignore_errors=True)
    try:
        if gate.losses >= MOST_LOSSES:
            _fail(gate, "lost", f"{gate.losses} workers died while they asked this teacher.")
            return
        folder.mkdir(parents=True)
        _prepare(gate, folder)
        result = _result(gate, folder)
        if result is not None:
            _write(gate, result)
            teacher_store.tell()
    except storage.Damaged as error:
        _fail(gate, "damaged", f"An input is damaged: {error}")
    except Exception as error:
        log.exception("Gate %s met a surprise.", gate.pk)
        _fail(gate, "crashed", f"The worker met a surprise: {error!r}"[:1000])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(gate: TeacherGate, folder: Path) -> None:
    """Write `config.json` and place the inputs. Raises storage.Damaged."""
    dataset = gate.dataset_version
    storage.local_copy(dataset.file_sha256, folder / "inputs/dataset.parquet")
    folders.place_files(gate.version, folder / "inputs/model")
    folders.write_json(
        folder / "config.json",
        {
            "format": folders.FORMAT,
            "task": gate.version.model.task,
            "model": {"name": gate.version.reference, "path": "inputs/model"},
            "dataset": {
                "path": "inputs/dataset.parquet",
                "sha256": dataset.file_sha256,
                "fingerprint": dataset.fingerprint,
                "labels": dataset.labels,
                "problem": dataset.problem,
                "separator": dataset.separator,
                "columns": dataset.features,
            },
            "teacher_outputs": {"mode": "auto", "store": str(teacher_store.folder())},
            "threads": settings.DISTILLHUB_RUN_THREADS,
        },
    )


def _result(gate: TeacherGate, folder: Path) -> dict[str, Any] | None:
    """What the child found; None when this process has to leave before it is done, or the gate is
    no longer ours."""
    child = children.spawn(
        folder, verb="gate", name="gate", threads=settings.DISTILLHUB_RUN_THREADS
    )
    until = time.monotonic() + PATIENCE
    beat_at = 0.0
    try:
        while child.poll() is None and time.monotonic() < until:
            if registration.stopping.is_set():
                _held(gate).update(status=TeacherGate.Status.QUEUED, claimed_until=None, stage="")
                return None
            if time.monotonic() >= beat_at:
                beat_at = time.monotonic() + BEAT
                if not _held(gate).update(stage=_stage(folder), claimed_until=in_future(LEASE)):
                    log.warning("Gate %s is worked at elsewhere, or gone.", gate.pk)
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
    log.error("Gate %s left no result: %s", gate.pk, child.said_last(20))
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


def _write(gate: TeacherGate, result: dict[str, Any]) -> None:
    failed = result.get("failed")
    if failed:
        _fail(gate, str(failed["code"]), str(failed["sentence"])[:2000])
        return
    _held(gate).update(
        status=TeacherGate.Status.READY,
        stage="",
        error=None,
        report=result["report"],
        claimed_until=None,
        finished_at=Now(),
    )


def _fail(gate: TeacherGate, code: str, detail: str) -> None:
    _held(gate).update(
        status=TeacherGate.Status.FAILED,
        stage="",
        error={"code": code, "detail": detail},
        claimed_until=None,
        finished_at=Now(),
    )


def _held(gate: TeacherGate) -> Any:
    """The row, as long as this attempt is the one that works at it."""
    return TeacherGate.objects.held(pk=gate.pk, attempt=gate.attempt)
