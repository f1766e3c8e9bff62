"""What people talk about and keep at hand of this app's rows: projects/services/subjects.py."""

from typing import Any

from django.db.models import QuerySet

from projects.models import Project
from projects.services.subjects import Subject
from training.models import Incident, Monitor, Report, Retraining, Run, Study

#: Rows that are found by their number, and the column that says what they are called.
NUMBERED: dict[str, tuple[type[Any], str]] = {
    "run": (Run, "name"),
    "study": (Study, "name"),
    "report": (Report, "title"),
    "incident": (Incident, "sentence"),
    "retraining": (Retraining, ""),
}
#: Who it is of each, besides who made it.
OWNERS = {"incident": "owner"}


def find(*, project: Project, kind: str, reference: str) -> Subject | None:
    """One query."""
    if kind == "monitor":
        watched = Monitor.objects.filter(project=project, name=reference)
        return _first(watched, kind, reference, "name", "created_by")
    if kind not in NUMBERED or not _is_whole(reference):
        return None
    model, title = NUMBERED[kind]
    rows = model.objects.filter(project=project, number=int(reference))
    return _first(rows, kind, reference, title, OWNERS.get(kind, "created_by"))


def _first(
    rows: QuerySet[Any], kind: str, reference: str, title: str, person: str
) -> Subject | None:
    found = rows.values_list(title or "number", f"{person}_id").first()
    if found is None:
        return None
    called = str(found[0]) if title else f"{kind} {reference}"
    people = frozenset() if found[1] is None else frozenset({found[1]})
    return Subject(kind, reference, called, people)


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10
