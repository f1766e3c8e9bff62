"""Who may see and do what. A project that a person is no member of does not exist for them."""

from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import CharField, Count, IntegerField, Q, QuerySet

from distillhub.lib.errors import Conflict, Forbidden, Missing
from distillhub.lib.phrased import Given, Phrased
from projects.models import Membership, Project, Role, User


def _membership() -> QuerySet[Membership]:
    asked = Membership.objects.select_related("project")
    return asked.filter(
        user_id=Given("user", IntegerField()), project__slug=Given("slug", CharField())
    )


def _membership_of_page() -> QuerySet[Membership]:
    still_open = Q(project__incidents__isnull=False, project__incidents__closed_at=None)
    return _membership().annotate(open_incidents=Count("project__incidents", filter=still_open))


OF_REST, OF_PAGE = Phrased(_membership), Phrased(_membership_of_page)


def person(request: Any) -> User:
    """Who asks, on a page or through REST: all but the public views are reached signed in only."""
    assert isinstance(request.user, User)
    return request.user


class Archived(Conflict):
    """An archived project is read and restored, nothing else."""

    code = "archived"


def project_for(
    user: User | AnonymousUser,
    slug: str,
    *,
    at_least: Role = Role.VIEWER,
    archived_too: bool = False,
    for_page: bool = True,
) -> Project:
    """The project, with `my_role` set on it, for pages and REST alike; `for_page` also with
    `open_incidents`, which the navigation of every page shows.

    Raises Missing (404) to strangers, Forbidden (403) to members whose role is too low, and
    Archived (409) when more than reading is asked of an archived project, unless `archived_too`.
    """
    found = OF_PAGE if for_page else OF_REST
    membership = found.first(user=user.pk, slug=slug)
    if membership is None:
        raise Missing("There is no such project.")
    project = membership.project
    project.my_role = Role(membership.role)
    project.open_incidents = getattr(membership, "open_incidents", 0)
    require(project, at_least=at_least, archived_too=archived_too)
    return project


def require(project: Project, *, at_least: Role, archived_too: bool = False) -> None:
    """The same checks for a project that `project_for` gave. Raises Forbidden and Archived."""
    role = project.my_role
    if role is None or not role.allows(at_least):
        mine = role.value if role else "nobody"
        raise Forbidden(f"This needs the role of {at_least.value}; you are {mine} here.")
    if project.archived_at is not None and at_least != Role.VIEWER and not archived_too:
        raise Archived("This project is archived. An owner can restore it in its settings.")
