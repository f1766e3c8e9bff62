"""Who has a run: claimed by compare-and-set, held under a lease, fenced by its attempt."""

from typing import Any

from django.db import transaction
from django.db.models.functions import Coalesce, Now

from distillhub.lib import leases
from distillhub.lib.leases import Fenced
from training.models import Run, Worker

__all__ = ["Fenced", "Held", "claim", "claim_next"]


class Held(leases.Held[Run]):
    """A run, as one attempt of one worker holds it."""

    __slots__ = ()

    @property
    def run(self) -> Run:
        """What was read at the claim."""
        return self.row

    def move(self, status: str, **changes: Any) -> bool:
        """Change status unless a person has cancelled meanwhile. Raises Fenced."""
        working = [Run.Status.STARTING, Run.Status.TRAINING, Run.Status.EVALUATING]
        moved = self.mine.filter(status__in=working).update(status=status, **changes)
        if not moved:
            self.write()  # tells fenced from cancelled
        return bool(moved)


def claim(run_id: int, worker: Worker) -> Held | None:
    """Take a queued run; None when it is not to be had (taken, cancelled, resting, gone)."""
    with transaction.atomic():
        one = Run.objects.claimable(worker.queues).filter(pk=run_id)
        taken = one.take(
            status=Run.Status.STARTING,
            worker=worker,
            retry_at=None,
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
        run.tell("started", f"Taken by {worker.name}{again}.")
    return Held(run, run.attempt)


def claim_next(worker: Worker) -> Held | None:
    """Take the oldest run that waits in one of the worker's queues."""
    while True:
        run_id = Run.objects.claimable(worker.queues).values_list("pk", flat=True).first()
        if run_id is None:
            return None
        held = claim(run_id, worker)
        if held is not None:
            return held
