"""What the pages of webhooks and those of alert channels (training/views/alert_channels.py) have in
common: who may do what, kinds of events to choose from, faults, and a secret that is shown once."""

from collections.abc import Callable, Collection, Iterable
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.db.models import Model
from django.http import HttpRequest

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Project, Role
from projects.models.event_kinds import Kind

Group = tuple[str, list[tuple[Kind, bool]]]


def project_of(request: HttpRequest, slug: str) -> Project:
    """Members see it; owners change it."""
    least = Role.OWNER if request.method == "POST" else Role.VIEWER
    return permissions.project_for(request.user, slug, at_least=least)


def groups(kinds: Iterable[Kind], chosen: Collection[str]) -> list[Group]:
    """Kinds of events as they are listed, and whether each is chosen."""
    return [
        (group.replace("_", " "), [(kind, kind.key in chosen) for kind in found])
        for group, found in groupby(kinds, key=lambda kind: kind.group)
    ]


def faults(fault: DomainError | None, *, shown: Collection[str]) -> dict[str, Any]:
    """By field, of those that the page shows, and what stands at none."""
    if fault is None:
        return {}
    named = {name: " ".join(said) for name, said in fault.fields.items()}
    return {"fields": named, "detail": "" if named.keys() & set(shown) else fault.detail}


def tell(request: HttpRequest, act: Callable[[], str]) -> None:
    """What was done, or why it was not, in a message. Raises what is missing."""
    try:
        messages.success(request, act())
    except DomainError as error:
        if error.status == 404:
            raise
        messages.error(request, error.detail)


def keep_secret(request: HttpRequest, receiver: Model, secret: str) -> None:
    """For the page that follows, once."""
    if secret:
        request.session[_kept(receiver)] = secret


def kept_secret(request: HttpRequest, receiver: Model) -> str:
    return str(request.session.pop(_kept(receiver), ""))


def _kept(receiver: Model) -> str:
    return f"secret-of-{receiver._meta.model_name}-{receiver.pk}"
