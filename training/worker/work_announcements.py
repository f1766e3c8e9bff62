"""What a project hears of exports, teacher gates and publications."""

from typing import Any

from projects.models import Event
from training.models import Export, Publication, TeacherGate

SAID = {
    "export": "It was written, opened again and measured.",
    "gate": "Its score is known.",
    "publication": "It was sent.",
}


def announce(
    kind: str, row: Export | Publication | TeacherGate, title: str, **more: str | int | None
) -> None:
    """`kind` is the first half of the event's, the row's status the second."""
    error: dict[str, Any] = row.error or {}
    Event.objects.tell(
        project_id=row.version.model.project_id,
        kind=f"{kind}.{row.status}",
        subject=row.version.reference,
        title=title,
        sentence=str(error.get("detail", "")) if error else SAID[kind],
        data={
            "id": row.pk,
            "model": row.version.reference,
            "status": str(row.status),
            "error": {name: str(error.get(name, "")) for name in ("code", "detail")}
            if error
            else None,
            "by": row.created_by.username,
            **more,
        },
    )
