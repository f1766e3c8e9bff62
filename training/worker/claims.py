"""Who has a run: claimed by compare-and-set, held under a lease, fenced by its attempt."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Coalesce, Now

from training.models import Run, Worker
from training.worker import registration
from training.worker.registration import LEASE, in_future

__all__ = ["Fenced", "Held", "claim", "claim_next", "kept"]


class Fenced(Exception):
    """The run was taken from this attempt: its lease ran out, and it went on elsewhere."""


@dataclass(frozen=True, slots=True)
class Held:
    """A run, as one attempt of one worker holds it. `run` is what was read at the claim."""

    run: Run
    attempt: int

    def write(self, **changes: Any) -> None:
        """Change the row, if it is still ours. First statement of every transaction that records
        something, so that the rest is guarded by the same row lock. Raises Fenced."""
        changes.setdefault("attempt", self.attempt)
        if not Run.objects.held(pk=self.run.pk, attempt=self.attempt).update(**changes):
            raise Fenced(f"run {self.run.pk}, attempt {self.attempt}")

    def move(self, status: str, **changes: Any) -> bool:
        """Change status unless a person has cancelled meanwhile. Raises Fenced."""
        working = [Run.Status.STARTING, Run.Status.TRAINING, Run.Status.EVALUATING]
        moved = (
            Run.objects.held(pk=self.run.pk, attempt=self.attempt)
            .filter(status__in=working)
            .update(status=status, **changes)
        )
        if not moved:
            self.write()  # tells fenced from cancelled
        return bool(moved)

    def now(self) -> Run:
        """The row as it is. Raises Fenced."""
        found = Run.objects.held(pk=self.run.pk, attempt=self.attempt).first()
        if found is None:
            raise Fenced(f"run {self.run.pk}, attempt {self.attempt}")
        return found


def claim(run_id: int, worker: Worker) -> Held | None:
    """Take a queued run; None when it is not to be had (taken, cancelled, resting, gone)."""
    with transaction.atomic():
        taken = (
            Run.objects.claimable(worker.queues)
            .filter(pk=run_id)
            .order_by()
            .update(
                status=Run.Status.STARTING,
                attempt=F("attempt") + 1,
                worker=worker,
                lease_until=in_future(LEASE),
                retry_at=None,
                started_at=Coalesce("started_at", Now()),
                stage="",
                eta_seconds=None,
                error=None,
            )
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


@contextmanager
def kept(held: Held) -> Iterator[None]:
    """The heartbeat renews the lease inside this block, and not a moment longer."""
    registration.holding[held.run.pk] = held.attempt
    try:
        yield
    finally:
        registration.holding.pop(held.run.pk, None)
