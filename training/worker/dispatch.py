"""Waking workers (distillhub/lib/calls.py) for runs, studies and what is watched."""

from datetime import timedelta

from django.db import transaction

from distillhub.lib.calls import call
from training.models import Run

__all__ = ["EXECUTE", "TELL_STUDY", "UNANSWERED", "WATCH", "call", "send", "tell_study", "wake"]

EXECUTE = "training.execute_run"
TELL_STUDY = "training.tell_study"
WATCH = "training.watch"

#: What nobody took within this time had its message lost, or nobody had room. Sending again is
#: cheap: a worker without room ends the call at once.
UNANSWERED = timedelta(seconds=10)


def wake(run: Run, *, after: float = 0.0) -> None:
    """Tell the workers of the run's queue, `after` so many seconds, once this is committed."""
    run_id, queue = run.pk, run.queue
    transaction.on_commit(lambda: send(run_id, queue, after=after), robust=True)


def tell_study(study_id: int) -> None:
    """Have a worker say what came of a study, if all its runs are over, once this is committed."""
    transaction.on_commit(lambda: call(TELL_STUDY, study_id=study_id), robust=True)


def send(run_id: int, queue: str, *, after: float = 0.0) -> bool:
    """Send now. When the broker is away the run stays queued, and the reaper sends again."""
    return call(EXECUTE, queue=queue, after=after, run_id=run_id)
