"""Makers of rows for tests: real rows through the ORM, each with sensible defaults."""

from itertools import count

from projects.models import Membership, Project, Role, User

_numbers = count(1)


def user(username: str = "") -> User:
    username = username or f"person-{next(_numbers)}"
    return User.objects.create_user(username, f"{username}@example.org", "correct horse battery")


def project(
    name: str = "", *, owner: User, editor: User | None = None, viewer: User | None = None
) -> Project:
    name = name or f"project-{next(_numbers)}"
    made = Project.objects.create(name=name, slug=name, created_by=owner)
    roles = {Role.OWNER: owner, Role.EDITOR: editor, Role.VIEWER: viewer}
    for role, person in roles.items():
        if person is not None:
            Membership.objects.create(project=made, user=person, role=role)
    return made
