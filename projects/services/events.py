"""What happened, told once: the feed of a project, notifications and webhooks are made of it.

Whoever makes something true calls `tell` in the same transaction. Making notifications and
deliveries of events is a job (training/worker/fanning.py): a service that tells waits for nothing.
"""

from collections.abc import Mapping
from typing import Any

from django.db.models import QuerySet

from distillhub.lib.errors import Invalid
from projects.models import Event, Project, User, event_kinds

#: What stands before the dot of a kind, in the order of their list.
GROUPS = tuple(dict.fromkeys(kind.group for kind in event_kinds.KINDS.values()))


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


def feed(*, project: Project, kind: str = "", by: str = "", subject: str = "") -> QuerySet[Event]:
    """The newest first, with who did it. `kind` is one of event_kinds.py, or what stands before its
    dot; `by` a username; `subject` a kind and a reference: `run/12`. Raises Invalid."""
    found = Event.objects.filter(project=project).select_related("by").order_by("-id")
    if kind:
        if kind in GROUPS:
            found = found.filter(kind__startswith=f"{kind}.")
        elif kind in event_kinds.KINDS:
            found = found.filter(kind=kind)
        else:
            sentence = f"There is no kind of event called {kind[:50]}."
            raise Invalid(sentence, fields={"kind": [sentence]})
    if by:
        found = found.filter(by__username=by)
    if subject:
        named, _, reference = subject.partition("/")
        found = found.filter(subject_kind=named[:30], subject=reference[:300])
    return found
