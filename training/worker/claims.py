"""Who has a run: claimed by compare-and-set, held under a lease, fenced by its attempt."""

import threading
from typing import Any

from django.db import transaction
from django.db.models import Case, Exists, Value, When
from django.db.models.functions import Coalesce, Now

from distillhub.lib import leases
from distillhub.lib.leases import Fenced
from training.models import Run, Worker
from training.worker import line

__all__ = ["Fenced", "Held", "claim", "claim_next"]

#: One thread of this process chooses at a time: two would give away the same room.
_choosing = threading.Lock()


class Held(leases.Held[Run]):
    """A run, as one attempt of one worker holds it."""

    __slots__ = ()

    @property
    def run(self) -> Run:
        """What was read at the claim."""
        return self.row

    def move(self, status: str, **changes: Any) -> bool:
        """Change status unless a person has cancelled meanwhile. Raises Fenced."""
        moved = self.mine.filter(status__in=Run.WORKING).update(status=status, **changes)
        if not moved:
            self.write()  # tells fenced from cancelled
        return bool(moved)

    def put_back(self, **changes: Any) -> bool:
        """Let go of it: to the queue, or to rest where a person asked for a pause. One update, so
        that no pause is lost between two looks. False when cancelled. Raises Fenced."""
        paused = When(pause_requested_at__isnull=False, then=Value(Run.Status.PAUSED))
        changes |= {"status": Case(paused, default=Value(Run.Status.QUEUED))}
        changes |= {"pause_requested_at": None}
        moved = self.mine.filter(status__in=Run.WORKING).update(**changes)
        if not moved:
            self.write()
        return bool(moved)


def claim(run_id: int, worker: Worker) -> Held | None:
    """Take a queued run; None when it is not to be had (taken, cancelled, resting, gone)."""
    with transaction.atomic():
        serving = Exists(Worker.objects.filter(pk=worker.pk, drained_at=None))
        one = Run.objects.claimable(worker.queues).filter(serving, pk=run_id)
        taken = one.take(
            status=Run.Status.STARTING,
            worker=worker,
            taken_at=Now(),
            retry_at=None,
            pause_requested_at=None,
            started_at=Coalesce("started_at", Now()),
            stage="",
            eta_seconds=None,
            error=None,
        )
        if not taken:
            return None
        run = Run.objects.select_related(
            "project", "dataset_version__dataset", "student__model", "created_by"
        ).get(pk=run_id)
        again = f", attempt {run.attempt}" if run.attempt > 1 else ""
        run.tell("started", f"Taken by worker {worker.name}{again}.")
    return Held(run, run.attempt)


def claim_next(worker: Worker) -> Held | None:
    """Take the run whose turn it is, of those that fit this worker (line.py)."""
    with _choosing:
        while True:
            run_id = line.next_for(worker)
            if run_id is None:
                return None
            held = claim(run_id, worker)
            if held is not None:
                return held
