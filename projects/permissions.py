"""Who may see and do what. A project that a person is no member of does not exist for them."""

from django.contrib.auth.models import AnonymousUser

from distillhub.lib.errors import Forbidden, Missing
from projects.models import Membership, Project, Role, User


def project_for(user: User | AnonymousUser, slug: str, *, at_least: Role = Role.VIEWER) -> Project:
    """The project, with `my_role` set on it, for pages and REST alike.

    Raises Missing (404) to strangers and Forbidden (403) to members whose role is too low.
    """
    membership = (
        Membership.objects.select_related("project")
        .filter(user=user.pk, project__slug=slug)
        .first()
    )
    if membership is None:
        raise Missing("There is no such project.")
    project = membership.project
    project.my_role = Role(membership.role)
    require(project, at_least=at_least)
    return project


def require(project: Project, *, at_least: Role) -> None:
    """Raises Forbidden unless `project`, as `project_for` gave it, is held in that role."""
    role = project.my_role
    if role is None or not role.allows(at_least):
        mine = role.value if role else "nobody"
        raise Forbidden(f"This needs the role of {at_least.value}; you are {mine} here.")
