"""Who hears of what happened: notifications of events, by each person's rules.

    make(event)      in the fan-out's transaction: a row for each person whom it concerns
    listed(user)     what a person sees, newest first
    mark(...)        read, or not

Nobody is told what they did themselves, and who left a project sees nothing of it any more.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core import signing
from django.db import transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from distillhub.lib.errors import Invalid, Missing
from projects.models import (
    Comment,
    Event,
    Membership,
    Notification,
    NotificationRule,
    Project,
    Role,
    User,
)
from projects.services import subjects
from projects.services.topics import ALL, BY_KIND, MINE, TOPICS, WHOSE, Topic

GATHER = timedelta(minutes=1)  # what comes within goes in one e-mail
MOST_AT_ONCE = 500  # that are marked by their ids

#: Facts of an event that name people: who made what it is about, and whom it concerns.
MAKERS = ("by", "created_by")
NAMED = ("mentions", "owner", "username", "assigned")

UNSUBSCRIBE = "notifications.unsubscribe"


@dataclass(frozen=True, slots=True)
class Rule:
    """What holds for a person, a topic and a project; `is_own` where the person said so."""

    topic: Topic
    whose: str
    on_page: bool
    by_email: bool
    is_own: bool = False


def make(event: Event) -> None:
    """Notifications of an event, each once however often this is called: two queries where nobody
    hears of it, and a few more where somebody does."""
    topics = [one for one in BY_KIND.get(event.kind, ()) if not event.data.get(one.for_nobody)]
    if not topics:
        return
    members = _members(event)
    if not members:
        return
    rules = _rules_of(members, topics, event.project_id)
    mine, named = _mine(event, members), _named(event, members)
    now = timezone.now()
    made = []
    for member in members.values():
        user = member.user
        rule = _concerning(topics, member, rules, mine=mine, named=named)
        if rule is None:
            continue
        is_mailed = rule.by_email and bool(settings.EMAIL_URL) and bool(user.email)
        if rule.on_page or is_mailed:
            due = now + GATHER if is_mailed else None
            made.append(
                Notification(
                    user=user,
                    event=event,
                    topic=rule.topic.key,
                    on_page=rule.on_page,
                    email_due_at=due,
                )
            )
    Notification.objects.bulk_create(made, ignore_conflicts=True)


def listed(*, user: User, unread: bool = False) -> QuerySet[Notification]:
    """On the page, newest first, of projects that the person still belongs to."""
    found = Notification.objects.filter(user=user, on_page=True)
    if unread:
        found = found.filter(read_at=None)
    return _still_seen(found, user).select_related("event__project", "event__by")


def unread(*, user: User) -> int:
    return _still_seen(
        Notification.objects.filter(user=user, on_page=True, read_at=None), user
    ).count()


def find(*, user: User, notification_id: int) -> Notification:
    """Raises Missing."""
    found = listed(user=user).filter(pk=notification_id).first()
    if found is None:
        raise Missing("There is no such notification.")
    return found


def mark(*, user: User, ids: Sequence[int] | None = None, read: bool = True) -> int:
    """Those, or all, read or not; how many changed. Others' do not exist. Raises Invalid."""
    rows = Notification.objects.filter(user=user, on_page=True, read_at__isnull=read)
    if ids is not None:
        if len(ids) > MOST_AT_ONCE:
            raise _wrong("ids", f"Name at most {MOST_AT_ONCE} at once.")
        rows = rows.filter(pk__in=ids)
    return rows.update(read_at=timezone.now() if read else None)


def address(event: Event) -> str:
    """The page of what an event is about."""
    return subjects.path(
        slug=event.project.slug, kind=event.subject_kind, reference=event.subject
    ) + (f"#comment-{event.data['comment']}" if event.data.get("comment") else "")


# Rules -------------------------------------------------------------------------------------------


def rules(*, user: User, project: Project | None = None) -> list[Rule]:
    """What holds for each topic: in all projects, or in one."""
    wanted = Q(project=None) if project is None else Q(project=None) | Q(project=project)
    found = _by_person(NotificationRule.objects.filter(wanted, user=user))
    of = None if project is None else project.pk
    return [_rule(topic, user.pk, of, found, own=of) for topic in TOPICS.values()]


@transaction.atomic
def set_rules(
    *, user: User, project: Project | None = None, asked: Iterable[Mapping[str, Any]]
) -> list[Rule]:
    """Keep `[{"topic", "whose"?, "on_page"?, "by_email"?}]`; what is left out of one stays as it
    is. Raises Invalid, with the place in its fields."""
    User.objects.select_for_update().get(pk=user.pk)  # two at once take turns
    before = {rule.topic.key: rule for rule in rules(user=user, project=project)}
    for place, one in enumerate(asked):
        was = before.get(str(one.get("topic")))
        if was is None:
            known = ", ".join(TOPICS)
            raise _wrong(f"{place}.topic", f"There is no such topic; there are {known}.")
        whose = one.get("whose", was.whose)
        if whose not in WHOSE:
            raise _wrong(f"{place}.whose", "It is mine or all.")
        NotificationRule.objects.update_or_create(
            user=user,
            project=project,
            topic=was.topic.key,
            defaults={
                "whose": whose,
                "on_page": bool(one.get("on_page", was.on_page)),
                "by_email": bool(one.get("by_email", was.by_email)),
            },
        )
    return rules(user=user, project=project)


def reset_rules(*, user: User, project: Project | None = None) -> None:
    """Back to what holds for everybody; of one project, to what holds for the person's others."""
    NotificationRule.objects.filter(user=user, project=project).delete()


def unsubscribe_token(user: User) -> str:
    """Lets whoever has it end the person's e-mails, and nothing else."""
    return signing.dumps(user.pk, salt=UNSUBSCRIBE)


@transaction.atomic
def unsubscribe(*, token: str) -> User:
    """No e-mail of any topic any more, until the person asks for it. Raises Missing."""
    try:
        user = User.objects.select_for_update().get(
            pk=signing.loads(token, salt=UNSUBSCRIBE), is_active=True
        )
    except (signing.BadSignature, User.DoesNotExist):
        raise Missing("This link is not valid any more.") from None
    NotificationRule.objects.filter(user=user).update(by_email=False)
    set_rules(user=user, asked=[{"topic": key, "by_email": False} for key in TOPICS])
    Notification.objects.filter(user=user).update(email_due_at=None)
    return user


# Whom it concerns --------------------------------------------------------------------------------


def _members(event: Event) -> dict[int, Membership]:
    """People of the project, but for who did it."""
    found = Membership.objects.filter(
        project=event.project_id, user__is_active=True, user__is_service=False
    )
    if event.by_id is not None:
        found = found.exclude(user=event.by_id)
    return {one.user_id: one for one in found.select_related("user")}


def _mine(event: Event, members: Mapping[int, Membership]) -> set[int]:
    """Ids of those whose it is: who made what it is about; and of a comment, who talks there."""
    names = {event.data.get(key) for key in MAKERS}
    found = {pk for pk, one in members.items() if one.user.username in names}
    found |= subjects.people_of(
        project=event.project, kind=event.subject_kind, reference=event.subject
    )
    if event.kind.startswith("comment."):
        there = Comment.objects.filter(
            project=event.project_id, subject_kind=event.subject_kind, subject=event.subject
        )
        found |= set(there.order_by().values_list("by", flat=True).distinct())
    return found


def _named(event: Event, members: Mapping[int, Membership]) -> set[int]:
    """Ids of those whom the event names."""
    names: set[Any] = set()
    for key in NAMED:
        value = event.data.get(key)
        names |= set(value) if isinstance(value, list) else {value}
    return {pk for pk, one in members.items() if one.user.username in names}


def _concerning(
    topics: Sequence[Topic],
    member: Membership,
    found: Mapping[tuple[int, str, int | None], NotificationRule],
    *,
    mine: set[int],
    named: set[int],
) -> Rule | None:
    """The rule of the first topic by which the person hears of it; None where none does."""
    pk = member.user_id
    for topic in topics:
        rule = _rule(topic, pk, member.project_id, found)
        concerned = pk in named if topic.named else rule.whose == ALL or pk in mine
        if topic.for_editors and not Role(member.role).allows(Role.EDITOR):
            concerned = False
        if concerned and (rule.on_page or rule.by_email):
            return rule
    return None


def _rules_of(
    members: Mapping[int, Membership], topics: Sequence[Topic], project_id: int
) -> dict[tuple[int, str, int | None], NotificationRule]:
    return _by_person(
        NotificationRule.objects.filter(
            Q(project=None) | Q(project=project_id),
            user__in=list(members),
            topic__in=[topic.key for topic in topics],
        )
    )


def _by_person(
    rows: Iterable[NotificationRule],
) -> dict[tuple[int, str, int | None], NotificationRule]:
    return {(one.user_id, one.topic, one.project_id): one for one in rows}


def _rule(
    topic: Topic,
    user_id: int,
    project_id: int | None,
    found: Mapping[tuple[int, str, int | None], NotificationRule],
    *,
    own: int | None = None,
) -> Rule:
    """A project's own rule, else the person's for all, else the topic's. `is_own` is about `own`:
    the project, or all of them, whose settings are shown."""
    row = found.get((user_id, topic.key, project_id)) or found.get((user_id, topic.key, None))
    if row is None:
        mailed = topic.by_email and bool(settings.EMAIL_URL)
        return Rule(topic, topic.whose, topic.on_page, mailed)
    whose = row.whose if row.whose in WHOSE else MINE
    return Rule(topic, whose, row.on_page, row.by_email, is_own=row.project_id == own)


def _still_seen(rows: QuerySet[Notification], user: User) -> QuerySet[Notification]:
    memberships = Membership.objects.filter(user=user, project=OuterRef("event__project"))
    return rows.filter(Exists(memberships))


def _wrong(field: str, sentence: str) -> Invalid:
    return Invalid(f"{field}: {sentence}", fields={field: [sentence]})
