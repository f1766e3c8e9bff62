"""Who may see and do what. A project that a person is no member of does not exist for them."""

from django.contrib.auth.models import AnonymousUser

from distillhub.lib.errors import Forbidden, Missing
from projects.models import Membership, Project, Role, User


def project_for(
    user: User | AnonymousUser, slug: str, *, at_least: Role = Role.VIEWER
) -> Project:
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
    role = Role(membership.role)
    if not role.allows(at_least):
        raise Forbidden(f"This needs the role of {at_least.value}; you are {role.value} here.")
    project = membership.project
    project.my_role = role
    return project
