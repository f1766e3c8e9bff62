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
    """Write it down, in the transaction that makes it true. `by` is None where a machine did it.
    What `data` holds for which kind says projects/models/event_kinds.py."""
    return Event.objects.tell(
        project_id=project.pk,
        kind=kind,
        subject_kind=subject_kind,
        subject=subject,
        title=title,
        sentence=sentence,
        by=by,
        data=data,
    )


def feed(*, project: Project) -> QuerySet[Event]:
    """The newest first, with who did it."""
    return Event.objects.filter(project=project).select_related("by")
