"""What is told of a run once it is over: the comparison with its control, and its slices.

It comes after the transaction in which the run is finished, since it reads files. The run remembers
whether it was done, so that a machine which dies in between, or a database or a storage which is
away just then, costs a minute and never the verdict.
"""

import logging
from datetime import timedelta

from django.db import DatabaseError, connection
from django.db.models.functions import Now

from distillhub.lib import storage, told
from training.models import Run
from training.worker import comparison, run_slices

log = logging.getLogger(__name__)

OWN_TIME = timedelta(minutes=1)  # in which whoever finished the run tells of it
KEPT_TRYING = timedelta(days=7)  # while storage is away; then it is damaged
AT_A_TIME = 20


def tell(run: Run) -> None:
    """Harmless to repeat, and in two processes at once. Never raises: the run is over, and stays
    so. What is away now is told later; what is damaged is told when it can be, which is never."""
    target = run.control_of if run.control_of_id is not None else run
    assert target is not None
    try:
        _compare(target)
        _score(target)
        Run.objects.filter(pk=run.pk).update(is_told=True)
    except (storage.Away, OSError) as error:
        log.warning("What run %s is worth is told later. %s", run.pk, error)
    except DatabaseError as error:
        log.warning("What run %s is worth is told later: the database is away. %s", run.pk, error)
        connection.close()


def look_again() -> None:
    """Tell of runs that were finished by who could not tell."""
    forgotten = Run.objects.filter(
        status=Run.Status.FINISHED,
        origin=Run.Origin.LAUNCHED,
        is_told=False,
        finished_at__range=(Now() - KEPT_TRYING, Now() - OWN_TIME),
    )
    for run in forgotten.order_by("finished_at")[:AT_A_TIME]:
        with told.about(run=run.pk):
            tell(run)


def _compare(target: Run) -> None:
    """Once a run and its control are both finished, say whether the teacher helped."""
    try:
        found = comparison.compare(target)
    except (storage.Damaged, FileNotFoundError, ValueError) as error:
        log.warning("Run %s could not be compared with its control: %s", target.pk, error)
        return
    if found is None:
        return
    # Of two that finish at the same moment one tells it. (`comparison=None` would be JSON's null.)
    if Run.objects.filter(pk=target.pk, comparison__isnull=True).update(comparison=found):
        target.tell("compared", found["sentence"])


def _score(target: Run) -> None:
    """Score the slices of a run that finished, and again once its control has. Whoever opens the
    evaluation may ask for what could not be scored now."""
    try:
        run_slices.score(target)
    except FileNotFoundError as error:
        log.warning("The slices of run %s could not be scored: %s", target.pk, error)
    except (storage.Away, OSError, DatabaseError):
        raise
    except Exception:  # rows hold whatever people put there
        log.exception("The slices of run %s could not be scored.", target.pk)
