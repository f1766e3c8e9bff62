"""What happened, told once: the feed of a project, notifications and webhooks are made of it.

Whoever makes something true calls `tell` in the same transaction. Making notifications and
deliveries of events is a job (training/worker/fanning.py): a service that tells waits for nothing.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet

from projects.models import Event, Project, User


def tell(
    *,
    project: Project,
    kind: str,
    subject_kind: str,
    subject: str,
    title: str,
    sentence: str,
    by: User | None = None,
    data: Mapping[str, Any] | None = None,
) -> Event:
    """Write it down. `by` is None where a machine did it."""
    return Event.objects.create(
        project=project,
        kind=kind,
        subject_kind=subject_kind,
        subject=subject[:300],
        title=title[:300],
        sentence=sentence[:1000],
        by=by,
        data=dict(data or {}),
    )


def feed(*, project: Project) -> QuerySet[Event]:
    """The newest first, with who did it."""
    return Event.objects.filter(project=project).select_related("by")
