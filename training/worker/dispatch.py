"""Waking workers. A message only says "look": the row owns the work, so a message that is lost,
doubled or late does no harm."""

import logging
from datetime import timedelta

from celery import current_app
from django.db import transaction
from kombu.exceptions import KombuError

from distillhub.lib import told
from training.models import Run

log = logging.getLogger(__name__)

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


def call(job: str, *, queue: str = "default", after: float = 0.0, **ids: int) -> bool:
    """Send a job by its name; False, and a line in the log, when the broker is away."""
    try:
        current_app.send_task(job, kwargs=ids, queue=queue, countdown=after or None)
    except (KombuError, OSError) as error:
        with told.about(**{name.removesuffix("_id"): number for name, number in ids.items()}):
            log.warning("%s waits: the broker is away (%s).", job, error)
        return False
    return True
