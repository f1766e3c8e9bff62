"""Projects and who belongs to them. A project always keeps an owner."""

from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.text import slugify

from distillhub.lib.errors import Conflict, Forbidden, Invalid, Missing
from projects.models import Membership, Project, Role, User
from projects.services import assignees, events, favourites

LONGEST_NAME = 100
LONGEST_DESCRIPTION = 2000


class LastOwner(Conflict):
    """Without this owner nobody could manage the project."""

    code = "last_owner"


class AlreadyMember(Conflict):
    code = "already_member"


def create(*, name: str, description: str = "", by: User) -> Project:
    """A new project that `by` owns; its slug is made from the name and is free. Raises Invalid."""
    name, description = _checked_name(name), _checked_description(description)
    stem = slugify(name)[:90].strip("-") or "project"
    for attempt in range(1, 1000):
        slug = stem if attempt == 1 else f"{stem}-{attempt}"
        if Project.objects.filter(slug=slug).exists():
            continue
        try:
            with transaction.atomic():
                project = Project.objects.create(
                    name=name, slug=slug, description=description, created_by=by
                )
                Membership.objects.create(project=project, user=by, role=Role.OWNER)
                _tell(project, "created", by)
        except IntegrityError:  # somebody took the slug since we looked
            continue
        project.my_role = Role.OWNER
        return project
    raise _invalid("name", "Too many projects have this name; choose another.")


def change(
    *,
    project: Project,
    name: str | None = None,
    description: str | None = None,
    archived: bool | None = None,
    by: User,
) -> None:
    """Change what is given; the slug, and with it every address, stays. Raises Invalid."""
    if name is not None:
        project.name = _checked_name(name)
    if description is not None:
        project.description = _checked_description(description)
    project.save(update_fields=["name", "description"])
    if archived is not None:
        put_away_or_back = archive if archived else restore
        put_away_or_back(project=project, by=by)


def archive(*, project: Project, by: User) -> None:
    """Put the project away: still readable by its members, in no list, changed by nobody."""
    with transaction.atomic():
        active = Project.objects.filter(pk=project.pk, archived_at=None)
        if active.update(archived_at=timezone.now()):
            _tell(project, "archived", by)
    project.refresh_from_db(fields=["archived_at"])


def restore(*, project: Project, by: User) -> None:
    """Bring an archived project back."""
    with transaction.atomic():
        archived = Project.objects.filter(pk=project.pk).exclude(archived_at=None)
        if archived.update(archived_at=None):
            _tell(project, "restored", by)
    project.archived_at = None


def add_member(*, project: Project, email: str, role: str, by: User) -> Membership:
    """Let an existing person in, named by e-mail address or username.

    Raises Invalid (nobody of that name, unknown role) and AlreadyMember.
    """
    role = _checked_role(role)
    named = email.strip()
    people = list(
        User.objects.filter(
            Q(username=named) | (Q(email__iexact=named) & ~Q(email="")), is_active=True
        )[:2]
    )
    if len(people) != 1:
        raise _invalid("email", "Nobody here has this e-mail address or username.")
    try:
        with transaction.atomic():
            made = Membership.objects.create(project=project, user=people[0], role=role)
            tell_of_member(made, "added", f"Let in by {by.display_name} as {role}.", by=by)
            return made
    except IntegrityError:
        raise AlreadyMember(
            f"{people[0].display_name} is a member already.",
            fields={"email": ["This person is a member already."]},
        ) from None


@transaction.atomic
def change_role(*, project: Project, user: User, role: str, by: User) -> Membership:
    """Raises Invalid, Missing (no member) and LastOwner."""
    role = _checked_role(role)
    membership = _membership_under_lock(project, user)
    if role != Role.OWNER:
        _keep_an_owner(membership)
    before = membership.role
    membership.role = role
    membership.save(update_fields=["role"])
    if role not in assignees.REVIEWERS:
        assignees.forget(user=user, project=project)
    if before != role:
        said = f"{by.display_name} made them {role}; they were {before}."
        tell_of_member(membership, "changed", said, by=by, before=before)
    return membership


@transaction.atomic
def remove_member(*, project: Project, user: User, by: User) -> None:
    """An owner removes anybody; everybody may leave. Raises Forbidden, Missing and LastOwner."""
    membership = _membership_under_lock(project, user)
    owns = project.memberships.filter(user=by, role=Role.OWNER).exists()
    if user.pk != by.pk and not owns:
        raise Forbidden("Only an owner may remove other members.")
    _keep_an_owner(membership)
    said = "They left." if user.pk == by.pk else f"Removed by {by.display_name}."
    tell_of_member(membership, "removed", said, by=by, before=membership.role)
    assignees.forget(user=user, project=project)
    membership.delete()
    favourites.forget_of(user=user, project=project)


def tell_of_member(
    membership: Membership, what: str, sentence: str, *, by: User, before: str | None = None
) -> None:
    """Let the project hear of who belongs to it, in the transaction that changes it."""
    user = membership.user
    events.tell(
        project=membership.project,
        kind=f"member.{what}",
        subject_kind="member",
        subject=user.username,
        title=user.display_name,
        sentence=sentence,
        by=by,
        data={
            "username": user.username,
            "name": user.display_name,
            "role": str(membership.role),
            "before": str(before) if before else None,
        },
    )


def _tell(project: Project, what: str, by: User) -> None:
    events.tell(
        project=project,
        kind=f"project.{what}",
        subject_kind="project",
        subject=project.slug,
        title=project.name,
        sentence=f"{what.capitalize()} by {by.display_name}.",
        by=by,
        data={"slug": project.slug, "name": project.name},
    )


def _membership_under_lock(project: Project, user: User) -> Membership:
    """The membership, with the project locked, so that two owners cannot remove each other."""
    Project.objects.select_for_update().get(pk=project.pk)
    membership = project.memberships.select_related("user").filter(user=user).first()
    if membership is None:
        raise Missing("There is no such member.")
    return membership


def _keep_an_owner(membership: Membership) -> None:
    others = Membership.objects.filter(project=membership.project_id, role=Role.OWNER).exclude(
        pk=membership.pk
    )
    if membership.role == Role.OWNER and not others.exists():
        raise LastOwner("A project keeps at least one owner; make somebody else an owner first.")


def _checked_name(name: str) -> str:
    name = " ".join(name.split())
    if not 1 <= len(name) <= LONGEST_NAME:
        raise _invalid("name", f"Give the project a name of at most {LONGEST_NAME} characters.")
    return name


def _checked_description(description: str) -> str:
    if len(description) > LONGEST_DESCRIPTION:
        raise _invalid("description", f"At most {LONGEST_DESCRIPTION} characters.")
    return description.strip()


def _checked_role(role: str) -> Role:
    if role not in Role.values:
        raise _invalid("role", "The role is viewer, editor or owner.")
    return Role(role)


def _invalid(field: str, sentence: str) -> Invalid:
    return Invalid(sentence, fields={field: [sentence]})
