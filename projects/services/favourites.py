"""What a person keeps at hand: projects, runs, studies, datasets, models and monitors, starred.

A favourite is a person's own: nobody else sees it, and it ends with their membership.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from distillhub.lib.errors import Conflict, Missing
from projects.models import Favourite, Membership, Project, User
from projects.services import notifications, subjects
from projects.services.subjects import Subject

MOST = 200  # of a person
ICONS = {
    "project": "layout-dashboard",
    "run": "activity",
    "study": "scale",
    "dataset": "database",
    "model": "box",
    "monitor": "heart-rate-monitor",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """A favourite as lists show it."""

    id: int
    kind: str
    reference: str
    title: str
    slug: str
    project: str

    @property
    def icon(self) -> str:
        return ICONS.get(self.kind, "star")

    @property
    def path(self) -> str:
        return subjects.path(slug=self.slug, kind=self.kind, reference=self.reference)


def of(*, user: User) -> QuerySet[Favourite]:
    """The newest first, of projects that the person belongs to and that are not archived."""
    return (
        Favourite.objects.filter(Exists(_memberships("project")), user=user)
        .filter(project__archived_at=None)
        .select_related("project")
    )


def find(*, user: User, favourite_id: int) -> Favourite:
    """Raises Missing."""
    found = Favourite.objects.filter(user=user, pk=favourite_id).select_related("project").first()
    if found is None:
        raise Missing("There is no such favourite.")
    return found


@transaction.atomic
def add(*, user: User, project: Project, subject: Subject) -> Favourite:
    """Keep it at hand; what is kept already stays as it is. Raises Conflict for too many."""
    User.objects.select_for_update().get(pk=user.pk)  # two at once take turns
    made = Favourite.objects.filter(
        user=user, project=project, subject_kind=subject.kind, subject=subject.reference
    ).first()
    if made is not None:
        return made
    if Favourite.objects.filter(user=user).count() >= MOST:
        raise Conflict(f"{MOST} favourites are the most: let one go first.", code="too_many")
    return Favourite.objects.create(
        user=user,
        project=project,
        subject_kind=subject.kind,
        subject=subject.reference,
        title=subject.title[:300],
    )


def remove(*, user: User, project: Project, kind: str, reference: str) -> None:
    """Let it go; harmless where it is not kept."""
    Favourite.objects.filter(
        user=user, project=project, subject_kind=kind, subject=reference
    ).delete()


def forget_of(*, user: User, project: Project) -> None:
    """The person is no member any more."""
    Favourite.objects.filter(user=user, project=project).delete()


@dataclass(frozen=True, slots=True)
class AtHand:
    """What every page shows of a person: how many notifications are unread, and the favourites."""

    unread: int
    favourites: list[Kept]

    @property
    def keys(self) -> set[str]:
        """By which a page knows that what it is about is kept."""
        return {f"{one.slug} {one.kind} {one.reference}" for one in self.favourites}


def at_hand(*, user: User) -> AtHand:
    """One query."""
    memberships = Membership.objects.filter(user=user.pk, project=OuterRef("favourites__project"))
    seen = notifications.listed(user=user, unread=True).order_by().values("user")
    rows: Any = (
        User.objects.filter(pk=user.pk)
        .annotate(
            unread=Coalesce(Subquery(seen.annotate(count=Count("pk")).values("count")), 0),
            is_member=Exists(memberships),
        )
        .order_by("-favourites__pk")
        .values_list(
            "unread",
            "is_member",
            "favourites__project__archived_at",
            "favourites__pk",
            "favourites__subject_kind",
            "favourites__subject",
            "favourites__title",
            "favourites__project__slug",
            "favourites__project__name",
        )
    )
    unread, kept = 0, []
    for unread, is_member, archived_at, *one in rows:  # noqa: B007 - the same in every row
        if is_member and archived_at is None:
            pk, kind, reference, title, slug, project = one
            called = project if kind == "project" else title or reference
            kept.append(Kept(pk, kind, reference, called, slug, project))
    return AtHand(unread, kept)


def _memberships(project: str) -> QuerySet[Membership]:
    return Membership.objects.filter(user=OuterRef("user"), project=OuterRef(project))
