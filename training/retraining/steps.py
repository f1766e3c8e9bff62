"""One step of a retraining: a change of its row, under a lock, that happens once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.utils import timezone

from projects.models import Event, User
from training.models import Retraining
from training.worker import incidents

Status = Retraining.Status
LONGEST = 1000

#: Statuses of which the project hears, and what they are called there.
TOLD: dict[str, str] = {
    Status.PROPOSED: "proposed",
    Status.COLLECTING: "begun",
    Status.DECIDING: "deciding",
    Status.PROMOTED: "promoted",
    Status.KEPT: "kept",
    Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}


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
    if was != status or was == status == Status.PROPOSED:
        _announce(row, by)
    if row.incident is not None and (row.is_final or was == status == Status.PROPOSED):
        told = f"Retraining {row.number} is {status}. {sentence}"
        if status == Status.PROPOSED:
            told = f"Retraining {row.number} is proposed as the answer."
        incidents.tell(row.incident, "retraining", told, by=by, retraining=row.number)


def _announce(row: Retraining, by: User | None) -> None:
    """Let the project hear of what people wait for."""
    if row.status not in TOLD:
        return
    Event.objects.tell(
        project_id=row.project_id,
        kind=f"retraining.{TOLD[row.status]}",
        subject=str(row.number),
        title=f"{row.monitor.name}: retraining {row.number}",
        sentence=row.sentence,
        by=by,
        data={
            "number": row.number,
            "monitor": row.monitor.name,
            "status": str(row.status),
            "incident": row.incident.number if row.incident is not None else None,
            "run": row.run.number if row.run is not None else None,
            "champion": row.champion.reference if row.champion is not None else None,
            "challenger": row.challenger.reference if row.challenger is not None else None,
            "error": {name: str(row.error.get(name, "")) for name in ("code", "detail")}
            if row.error
            else None,
            "by": row.created_by.username,
        },
    )


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
