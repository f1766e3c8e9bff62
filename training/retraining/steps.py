"""One step of a retraining: a change of its row, under a lock, that happens once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.utils import timezone

from projects.models import User
from training.models import Retraining
from training.worker import incidents

Status = Retraining.Status
LONGEST = 1000


class Elsewhere(Exception):
    """Another process has done this step meanwhile, or a person ended the retraining."""


@contextmanager
def locked(retraining: Retraining, *statuses: str) -> Iterator[Retraining]:
    """The row as it is now, alone, in one transaction. Raises Elsewhere where it is in another
    status."""
    with transaction.atomic():
        found = (
            Retraining.objects.select_for_update(of=("self",))
            .select_related("project", "monitor", "created_by")
            .filter(pk=retraining.pk, status__in=statuses)
            .first()
        )
        if found is None:
            raise Elsewhere
        yield found
    retraining.refresh_from_db()


def write(
    row: Retraining, status: str, sentence: str, *, by: User | None = None, **columns: Any
) -> None:
    """Move a locked row on, and note what happened."""
    was = row.status
    row.status, row.sentence = status, sentence[:LONGEST]
    row.steps = [
        *row.steps,
        {
            "was": was,
            "status": status,
            "at": timezone.now().isoformat(),
            "sentence": sentence[:LONGEST],
            "by": by.display_name if by is not None else None,
        },
    ]
    for name, value in columns.items():
        setattr(row, name, value)
    if row.is_final:
        row.finished_at = timezone.now()
    row.save()
    if row.incident is not None and (row.is_final or was == status == Status.PROPOSED):
        told = f"Retraining {row.number} is {status}. {sentence}"
        if status == Status.PROPOSED:
            told = f"Retraining {row.number} is proposed as the answer."
        incidents.tell(row.incident, "retraining", told, by=by, retraining=row.number)


def fail(retraining: Retraining, code: str, detail: str) -> None:
    """It ends for a reason that another look would meet again; harmless where it is over."""
    live = [one for one in Status if one not in Retraining.FINAL]
    try:
        with locked(retraining, *live) as row:
            write(row, Status.FAILED, detail, error={"code": code, "detail": detail[:2000]})
    except Elsewhere:
        retraining.refresh_from_db()


def note(retraining: Retraining, sentence: str) -> None:
    """Where it stands, in words, without a step."""
    sentence = sentence[:LONGEST]
    if retraining.sentence != sentence:
        moved = Retraining.objects.filter(pk=retraining.pk, status=retraining.status)
        moved.update(sentence=sentence)
        retraining.sentence = sentence
