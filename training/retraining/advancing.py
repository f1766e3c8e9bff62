"""A look at retrainings: what can happen now, happens.

look()                  proposes what is due, and advances all that are under way
advance(retraining)     as far as it goes now; harmless to repeat, and in two processes at once
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress

from django.db import DatabaseError, connection
from rest_framework.exceptions import ValidationError

from distillhub.lib import leases, storage, told
from distillhub.lib.errors import DomainError
from distillhub.lib.leases import GivenBack
from training.models import Retraining
from training.retraining import beginning, challenger, collecting, deciding, judging, steps
from training.retraining.collecting import Stopped
from training.retraining.steps import Elsewhere, Status
from training.worker import machine

log = logging.getLogger(__name__)

MOST_STEPS = 20  # of one look
AT_A_TIME = 50

STEPS: dict[str, Callable[[Retraining], None]] = {
    Status.COLLECTING: collecting.collect,
    Status.LABELLING: collecting.label,
    Status.REVIEWING: collecting.review,
    Status.TRAINING: challenger.train,
    Status.JUDGING: judging.judge,
    Status.DECIDING: deciding.decide_alone,
}
RELATED = (
    *("project", "monitor__teacher__model", "monitor__model", "incident", "created_by", "review"),
    *("champion__model", "challenger__model", "collected__dataset", "dataset_version__dataset"),
    *("run__output__model",),
)


def look() -> None:
    """Never raises: one that meets a surprise fails alone."""
    beginning.look()
    waiting = Retraining.objects.filter(status__in=STEPS).order_by("pk")
    for pk in waiting.values_list("pk", flat=True)[:AT_A_TIME]:
        if leases.stopping.is_set():
            return
        look_at(pk)


def look_at(retraining_id: int) -> None:
    """Unless another process of this machine looks at it now."""
    with (
        told.about(retraining=retraining_id),
        machine.alone(machine.home() / f"retraining-{retraining_id}.lock") as ours,
    ):
        if not ours:
            return
        found = Retraining.objects.filter(pk=retraining_id).first()
        if found is not None:
            with suppress(Retraining.DoesNotExist):  # it went with its monitor
                advance(found)


def advance(retraining: Retraining) -> Retraining:
    for _ in range(MOST_STEPS):
        before = _state(retraining)
        retraining = Retraining.objects.select_related(*RELATED).get(pk=retraining.pk)
        step = STEPS.get(retraining.status)
        if step is None:
            return retraining
        try:
            step(retraining)
        except Elsewhere:
            pass
        except GivenBack:
            return retraining
        except Stopped as stopped:
            steps.fail(retraining, stopped.code, stopped.detail)
        except storage.Away as away:
            log.warning("It waits: %s", away.detail)
            return retraining
        except storage.Damaged as damaged:
            steps.fail(retraining, "damaged", f"A stored file is missing or damaged: {damaged}")
        except DomainError as error:
            steps.fail(retraining, error.code, error.detail)
        except ValidationError as error:
            steps.fail(retraining, "invalid", _first(error.detail))
        except DatabaseError as error:
            log.warning("It waits: the database is away. %s", error)
            connection.close()
            return retraining
        except Exception as surprise:
            log.exception("Retraining %s met a surprise.", retraining.pk)
            steps.fail(retraining, "crashed", f"The worker met a surprise: {surprise!r}")
        retraining.refresh_from_db()
        if _state(retraining) == before:
            return retraining
    return retraining


def _state(retraining: Retraining) -> tuple[object, ...]:
    """What a step changes."""
    one = retraining
    made = (one.collected_id, one.dataset_version_id, one.review_id, one.run_id)
    return (one.status, len(one.steps), *made)


def _first(detail: object) -> str:
    """The first sentence of what a serializer says."""
    while isinstance(detail, dict | list):
        detail = next(iter(detail.values() if isinstance(detail, dict) else detail), "")
    return str(detail)
