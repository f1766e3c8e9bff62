"""Mending what crashes leave: leases that ran out, messages that were lost. Harmless to repeat, and
to run in two processes at once."""

import logging
import os
from datetime import timedelta
from typing import Any

import psutil
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from distillhub.lib import leases, told
from projects.services import audit
from training.models import Run, Worker
from training.worker import (
    afterwards,
    alerts,
    child,
    dispatch,
    exports,
    following,
    gates,
    importing,
    line,
    machine,
    maps,
    monitor_teacher,
    monitors,
    networks,
    outcomes,
    publishing,
    studies,
    teacher_questions,
    waiting,
)
from training.worker.work import Work

log = logging.getLogger(__name__)

SAME = 2.0  # seconds: two readings of when a process began

#: What workers do besides runs.
WORKS: tuple[Work[Any], ...] = (
    networks.WORK, exports.WORK, gates.WORK, maps.WORK, publishing.WORK, monitors.WORK,
    teacher_questions.WORK, importing.WORK,
)  # fmt: skip


CALLS = 20  # of a queue at a time: any of them wakes a worker, which takes whose turn it is


def reap() -> None:
    """Requeue lost runs, wake workers for what is forgotten."""
    for run_id in Run.objects.lost().values_list("pk", flat=True):
        _lost(run_id)
    for run in Run.objects.filter(status=Run.Status.WAITING):
        with transaction.atomic():
            waiting.look_again(run)
    _call_again()
    for work in WORKS:
        work.call_again()
    afterwards.look_again()
    studies.look_again()
    following.look_again()
    monitor_teacher.ask_canaries()
    monitors.look_again()
    alerts.look_again()
    audit.complete()


def at_start() -> None:
    """Before a worker takes anything: the processes that a dead one left on this machine are ended,
    and what it held is free at once, without waiting for the lease."""
    alive = {worker.pk for worker in Worker.objects.filter(stopped_at=None) if _is_alive(worker)}
    ours = [held.row.pk for held in tuple(leases.holding) if isinstance(held.row, Run)]
    held = Run.objects.running().filter(Q(worker__in=alive) | Q(pk__in=ours))
    orphaned = Run.objects.running().filter(Q(worker__host=machine.host()) | Q(worker=None))
    orphaned.exclude(pk__in=held.values("pk")).update(lease_until=Now() - timedelta(seconds=1))
    busy = set(held.values_list("pk", flat=True))
    for folder in machine.home().iterdir():
        idle = folder.name.isdigit() and int(folder.name) not in busy
        if idle and child.end_orphan(folder):
            with told.about(run=int(folder.name)):
                log.warning("Ended a training that a dead worker had left in %s.", folder)
    for work in WORKS:
        work.sweep()
    reap()


def after_restore(*, made_at: str) -> list[str]:
    """The rows are those of a backup: no worker of then is here. What was in training waits for one
    of now, and says why; the sentences, each with its run."""
    Worker.objects.filter(stopped_at=None).update(stopped_at=Now())
    told_people = []
    for run in Run.objects.running().select_related("project").order_by("pk"):
        with transaction.atomic():
            if run.status == Run.Status.CANCELLING:
                run.move_to(
                    Run.Status.CANCELLED, among=Run.LEASED, finished_at=Now(), **outcomes.LET_GO
                )
                run.tell("cancelled", "Stopped: its worker is gone since the backup was restored.")
                waiting.settle(run)
                continue
            here = any((machine.home() / str(run.pk) / "checkpoints").glob("*/*"))
            how = (
                f"it goes on from its newest checkpoint, about step {run.step}."
                if here
                else "its checkpoints are not here: it goes on from a stored one, or begins again."
            )
            sentence = f"Restored from the backup of {made_at}; {how}"
            run.move_to(Run.Status.QUEUED, among=Run.LEASED, stage="", **outcomes.LET_GO)
            run.tell("queued", sentence)
            told_people.append(f"Run {run.project.slug}/{run.number}: {sentence}")
    return told_people


def _lost(run_id: int) -> None:
    with told.about(run=run_id), transaction.atomic():
        run = Run.objects.lost().select_for_update().filter(pk=run_id).first()
        if run is None:
            return
        who = f"Worker {run.worker.name}" if run.worker is not None else "Its worker"
        outcomes.lose(run, sentence=f"{who} went silent at step {run.step}.", code="lost")


def _call_again() -> None:
    """Wake the workers of every queue in which something waits. Messages about a queue that nobody
    serves would only pile up: a worker that comes looks by itself."""
    served = sorted({queue for room in line.live_rooms() for queue in room.queues})
    rested = Q(retry_at=None) | Q(retry_at__lte=Now())
    forgotten = Run.objects.in_line().filter(rested, queued_at__lt=Now() - dispatch.UNANSWERED)
    for queue in served:
        oldest = forgotten.filter(queue=queue).order_by("queued_at").values_list("pk", flat=True)
        for run_id in oldest[:CALLS]:
            dispatch.send(run_id, queue)


def _is_alive(worker: Worker) -> bool:
    """Whether the worker may still be there: another host's is judged by its lease alone."""
    if worker.host != machine.host():
        return True
    if worker.pid == os.getpid():  # this very process, or an earlier one that had our pid
        return False
    try:
        # By this machine's clock alone: the database's may be hours away.
        began = float(psutil.Process(worker.pid).create_time())
    except psutil.Error:
        return False
    return abs(began - float(worker.machine.get("began", began))) < SAME
