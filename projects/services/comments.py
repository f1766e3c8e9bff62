"""What people say about runs, studies and versions, in Markdown, with mentions of members by @.

Every member may speak, viewers too: it changes nothing but the conversation. People change and
delete their own words; owners delete anybody's.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from html import unescape

from django.db import transaction
from django.db.models import Count, Max, QuerySet
from django.utils import timezone
from django.utils.html import strip_tags
from django.utils.safestring import SafeString, mark_safe

from distillhub.lib import markdown
from distillhub.lib.errors import Conflict, Forbidden, Invalid, Missing
from projects.models import Comment, Event, Membership, Project, Role, User
from projects.services import events, subjects
from projects.services.subjects import Subject

LONGEST = 10_000  # characters
MOST_MENTIONS = 50
EXCERPT = 500  # characters that programs are told

MOST_SHOWN = 200  # on a page: the newest; REST has all

#: An @ that begins a word, and what may be a username behind it.
MENTION = re.compile(r"(?<![\w@/.+-])@([\w.@+-]{1,150})")
#: In which nobody is mentioned: blocks and spans of code.
CODE = re.compile(r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|`[^`\n]*`", re.DOTALL)
TAG = re.compile(r"(<[^>]*>)")


@dataclass(frozen=True, slots=True)
class Said:
    """A comment as a page shows it to one person."""

    comment: Comment
    html: SafeString
    may_edit: bool
    may_delete: bool


@dataclass(frozen=True, slots=True)
class Thread:
    subject: Subject
    said: list[Said]
    has_earlier: bool
    may_speak: bool
    tag: str  # of what is shown here, and to whom: another where there is something new

    @property
    def count(self) -> int:
        return sum(one.comment.deleted_at is None for one in self.said)


def of(*, project: Project, kind: str, reference: str) -> QuerySet[Comment]:
    """Of a subject, oldest first; what was deleted stands there without its text. One query."""
    found = Comment.objects.filter(project=project, subject_kind=kind, subject=reference)
    return found.select_related("by").order_by("pk")


def thread(*, project: Project, subject: Subject, reader: User) -> Thread:
    """The conversation as a page shows it. Three queries where somebody spoke, else two."""
    # Before what is said is read: what comes between is found at the next look.
    known = tag(project=project, kind=subject.kind, reference=subject.reference, reader=reader)
    rows = of(project=project, kind=subject.kind, reference=subject.reference)
    newest = list(rows.prefetch_related("mentions").order_by("-pk")[: MOST_SHOWN + 1])
    may_delete = may_delete_all(project=project, user=reader)
    said = [
        Said(
            comment=one,
            html=rendered(one.text, people=[person.username for person in one.mentions.all()]),
            may_edit=one.by_id == reader.pk and one.deleted_at is None,
            may_delete=(one.by_id == reader.pk or may_delete) and one.deleted_at is None,
        )
        for one in reversed(newest[:MOST_SHOWN])
    ]
    return Thread(
        subject, said, len(newest) > MOST_SHOWN, may_speak=project.archived_at is None, tag=known
    )


def tag(*, project: Project, kind: str, reference: str, reader: User) -> str:
    """Of what a page shows of a conversation to one person. One query, and no text is read, so
    that pages that stay open can ask often."""
    rows = Comment.objects.filter(project=project, subject_kind=kind, subject=reference)
    found = rows.order_by().aggregate(
        Count("pk"), Max("pk"), Max("edited_at"), Max("deleted_at"), Count("deleted_at")
    )
    parts = [reader.pk, project.my_role, project.archived_at, *found.values()]
    return sha256("|".join(map(str, parts)).encode()).hexdigest()[:32]


def find(*, project: Project, comment_id: int) -> Comment:
    """Raises Missing, also of one that was deleted."""
    found = (
        Comment.objects.filter(project=project, pk=comment_id, deleted_at=None)
        .select_related("by", "project")
        .first()
    )
    if found is None:
        raise Missing("There is no such comment.")
    return found


@transaction.atomic
def add(*, project: Project, subject: Subject, text: str, by: User) -> Comment:
    """Say something. Members that are mentioned hear of it. Raises Invalid, and Conflict in an
    archived project."""
    _refuse_archived(project)
    said = _checked(text)
    mentioned = mentions(project=project, text=said)
    made = Comment.objects.create(
        project=project, subject_kind=subject.kind, subject=subject.reference, text=said, by=by
    )
    made.mentions.set(mentioned)
    _tell(project, subject, made.pk, said, mentioned, kind="comment.created", by=by)
    return made


@transaction.atomic
def edit(*, comment: Comment, text: str, by: User) -> Comment:
    """One's own. Who is mentioned only now hears of it. Raises Forbidden, Invalid and Conflict."""
    _refuse_archived(comment.project)
    if comment.by_id != by.pk:
        raise Forbidden("People change their own comments only.")
    said = _checked(text)
    if said == comment.text:
        return comment
    before = set(comment.mentions.values_list("pk", flat=True))
    mentioned = mentions(project=comment.project, text=said)
    kept = Comment.objects.filter(pk=comment.pk, deleted_at=None)
    if not kept.update(text=said, edited_at=timezone.now()):
        raise Missing("There is no such comment.")
    comment.refresh_from_db(fields=["text", "edited_at"])
    comment.mentions.set(mentioned)
    if further := [one for one in mentioned if one.pk not in before]:
        subject = subjects.find(
            project=comment.project, kind=comment.subject_kind, reference=comment.subject
        )
        _tell(comment.project, subject, comment.pk, said, further, kind="comment.changed", by=by)
    return comment


def tell_of(*, project: Project, subject: Subject, comment_id: int, text: str, by: User) -> None:
    """Of what is said elsewhere than here, such as in the history of an incident. In the
    transaction that keeps it. Raises Invalid."""
    mentioned = mentions(project=project, text=text)
    _tell(project, subject, comment_id, text, mentioned, kind="comment.created", by=by)


@transaction.atomic
def delete(*, comment: Comment, by: User) -> None:
    """Its place stays, its text goes: one's own, and an owner anybody's. Raises Forbidden."""
    if comment.by_id != by.pk and not may_delete_all(project=comment.project, user=by):
        raise Forbidden("People delete their own comments; owners of the project any.")
    kept = Comment.objects.filter(pk=comment.pk, deleted_at=None)
    kept.update(text="", deleted_at=timezone.now())
    comment.mentions.clear()
    # What was told of it stands in the feed and in notifications: there, too, its text goes.
    told = Event.objects.filter(
        project=comment.project,
        kind__startswith="comment.",
        subject_kind=comment.subject_kind,
        subject=comment.subject,
        data__comment=comment.pk,
    )
    for event in told:
        event.sentence = f"{comment.by.display_name} said something that was deleted since."
        event.data = {**event.data, "text": "", "mentions": []}
        event.save(update_fields=["sentence", "data"])


def may_delete_all(*, project: Project, user: User) -> bool:
    if project.my_role is not None:
        return project.my_role == Role.OWNER
    return Membership.objects.filter(project=project, user=user, role=Role.OWNER).exists()


def mentions(*, project: Project, text: str) -> list[User]:
    """Members whom a text names by @, in its order; without an @ no query. Raises Invalid."""
    names = _named(text)
    if not names:
        return []
    wanted = {ending for name in names for ending in _endings(name)}
    people = User.objects.filter(
        memberships__project=project, is_active=True, is_service=False, username__in=wanted
    )
    known = {person.username: person for person in people}
    found = []
    for name in names:
        person = next((known[one] for one in _endings(name) if one in known), None)
        if person is not None and person not in found:
            found.append(person)
    return found


def mentionable(*, project: Project) -> QuerySet[User]:
    """Whom a comment may name, by username."""
    return User.objects.filter(
        memberships__project=project, is_active=True, is_service=False
    ).order_by("username")


def rendered(text: str, *, people: Iterable[str] = ()) -> SafeString:
    """As HTML that a page may hold; `@name` of these people stands out."""
    html = str(markdown.render(text, highest=4))
    names = frozenset(people)
    if not names:
        return mark_safe(html)  # noqa: S308 - sanitised by markdown.render
    inside = 0  # of code or a link
    parts = []
    for part in TAG.split(html):
        if part.startswith("<"):
            if re.match(r"<(?:code|pre|a)\b", part):
                inside += 1
            elif re.match(r"</(?:code|pre|a)>", part):
                inside -= 1
        elif not inside:
            part = MENTION.sub(lambda found: _shown(found, names), part)
        parts.append(part)
    return mark_safe("".join(parts))  # noqa: S308 - only a username of ours is put in between


def plain(text: str) -> str:
    """What a text says, on one line and without the signs of Markdown."""
    return " ".join(unescape(strip_tags(markdown.render(text))).split())


def _shown(found: re.Match[str], names: frozenset[str]) -> str:
    """A username has no character that HTML would read as its own."""
    name = next((one for one in _endings(found[1]) if one in names), None)
    if name is None:
        return found[0]
    return f'<span class="mention">@{name}</span>{found[1][len(name) :]}'


def _named(text: str) -> list[str]:
    plain = CODE.sub(" ", text)
    names = list(dict.fromkeys(found[1] for found in MENTION.finditer(plain)))
    if len(names) > MOST_MENTIONS:
        sentence = f"A comment mentions at most {MOST_MENTIONS} people."
        raise Invalid(sentence, fields={"text": [sentence]})
    return names


def _endings(name: str) -> list[str]:
    """A name, and what is left of it without the signs that end a sentence: `vera.` as `vera`."""
    found = [name]
    while name and name[-1] in ".+-@":
        name = name[:-1]
        found.append(name)
    return found


def _tell(
    project: Project,
    subject: Subject,
    comment_id: int,
    text: str,
    mentioned: list[User],
    *,
    kind: str,
    by: User,
) -> None:
    excerpt = text[:EXCERPT]
    first = plain(excerpt)[:200]
    events.tell(
        project=project,
        kind=kind,
        subject_kind=subject.kind,
        subject=subject.reference,
        title=subject.title,
        sentence=f"{by.display_name} said of {subject.said}: {first}",
        by=by,
        data={
            "comment": comment_id,
            "text": excerpt,
            "mentions": [person.username for person in mentioned],
        },
    )


def _checked(text: str) -> str:
    said = text.strip()
    if not 1 <= len(said) <= LONGEST:
        sentence = f"A comment has 1 to {LONGEST} characters."
        raise Invalid(sentence, fields={"text": [sentence]})
    return said


def _refuse_archived(project: Project) -> None:
    if project.archived_at is not None:
        raise Conflict("This project is archived: nothing new is said in it.", code="archived")
