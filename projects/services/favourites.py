"""What a person keeps at hand: projects, runs, studies, datasets, models and monitors, starred.

A favourite is a person's own: nobody else sees it, and it ends with their membership.
"""

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, FilteredRelation, OuterRef, Q, QuerySet, Subquery
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
class Place:
    """A project as the switcher names it."""

    pk: int
    slug: str
    name: str


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
    """What every page shows of a person: the projects to switch to, the favourites, and how many
    notifications are unread."""

    projects: list[Place]
    favourites: list[Kept]
    unread: int

    @property
    def keys(self) -> set[str]:
        """By which a page knows that what it is about is kept."""
        return {f"{one.slug} {one.kind} {one.reference}" for one in self.favourites}


def at_hand(*, user: User) -> AtHand:
    """One query: a row for each project and each favourite in it."""
    seen = notifications.listed(user=user, unread=True).order_by().values("user")
    rows: Any = (
        Project.objects.visible_to(user)
        .active()
        .annotate(
            mine=FilteredRelation("favourites", condition=Q(favourites__user=user.pk)),
            unread=Coalesce(Subquery(seen.annotate(count=Count("pk")).values("count")), 0),
        )
        .order_by("name", "pk")
        .values_list(
            *("unread", "pk", "slug", "name"),
            *("mine__pk", "mine__subject_kind", "mine__subject", "mine__title"),
        )
    )
    unread, places, kept = 0, {}, []
    for unread, pk, slug, name, mine, kind, reference, title in rows:  # noqa: B007 - in every row
        places[pk] = Place(pk, slug, name)
        if mine is not None:
            called = name if kind == "project" else title or reference
            kept.append(Kept(mine, kind, reference, called, slug, name))
    kept.sort(key=lambda one: -one.id)
    return AtHand(list(places.values()), kept, unread)


def _memberships(project: str) -> QuerySet[Membership]:
    return Membership.objects.filter(user=OuterRef("user"), project=OuterRef(project))
