"""Who is asked to review: members of the project that may, named by its editors and owners.

An assignment is of a membership, and ends with it. What a person held of a queue goes to others at
once when they leave, become a viewer or are shut out.
"""

from collections.abc import Iterable

from django.db.models import QuerySet
from django.utils import timezone

from distillhub.lib.errors import Invalid
from projects.models import Membership, Project, Review, ReviewQueue, Role, User

MOST = 50  # of one review
REVIEWERS = tuple(role for role in Role if role.allows(Role.EDITOR))


def to_choose_from(project: Project) -> QuerySet[Membership]:
    """Who may be asked, by username."""
    found = Membership.objects.filter(
        project=project, role__in=REVIEWERS, user__is_active=True, user__is_service=False
    )
    return found.select_related("user").order_by("user__username")


def named(*, project: Project, usernames: Iterable[str]) -> list[Membership]:
    """Of these people, each once. Raises Invalid, which says of whom it is not so."""
    wanted = list(dict.fromkeys(usernames))
    if len(wanted) > MOST:
        raise _wrong(f"A review is given to at most {MOST} people.")
    members = Membership.objects.filter(project=project, user__username__in=wanted)
    known = {one.user.username: one for one in members.select_related("user")}
    for username in wanted:
        one = known.get(username)
        if one is None or one.user.is_service:
            raise _wrong(f"{username[:150]} is no member of this project.")
        if not one.user.is_active:
            raise _wrong(f"{username} is shut out, and can review nothing.")
        if one.role not in REVIEWERS:
            raise _wrong(f"{username} is a viewer here; editors and owners review.")
    return [known[username] for username in wanted]


def of(queues: QuerySet[ReviewQueue], username: str, *, by: User) -> QuerySet[ReviewQueue]:
    """Those that a person is asked to review; `me` is who wants to know."""
    wanted = by.username if username == "me" else username
    theirs = Membership.objects.filter(user__username=wanted)
    return queues.filter(
        pk__in=ReviewQueue.assignees.through.objects.filter(membership__in=theirs).values(
            "reviewqueue"
        )
    )


def forget(*, user: User, project: Project | None = None) -> None:
    """They are asked no more, in this project or in all. Where nobody is left, everybody may review
    again. In the transaction that ends their right to."""
    theirs = Membership.objects.filter(user=user)
    held = Review.objects.filter(person=user, verdict="")
    alone = ReviewQueue.objects.filter(only_assignees=True)
    if project is not None:
        theirs = theirs.filter(project=project)
        held = held.filter(item__queue__project=project)
        alone = alone.filter(project=project)
    ReviewQueue.assignees.through.objects.filter(membership__in=theirs).delete()
    let_go(held)
    left = alone.filter(assignees=None).values_list("pk", flat=True)
    ReviewQueue.objects.filter(pk__in=list(left)).update(only_assignees=False)


def let_go(held: QuerySet[Review]) -> None:
    """Rows that somebody held and said nothing of go to others now."""
    now = timezone.now()
    held.filter(verdict="", taken_until__gt=now).update(taken_until=now)


def _wrong(sentence: str) -> Invalid:
    return Invalid(sentence, fields={"assignees": [sentence]})
