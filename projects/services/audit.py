"""Who did what: entries that are only added, each of which holds the digest of the one before.

    audit.record("member.add", by=alice, project=project, subject="vera", detail={"role": "viewer"})

Requests that change something are recorded by projects/views/auditing.py, under the names of
services/acts.py. What came of a request is known when it is answered, so the transaction of its act
carries a promise of the entry (`promise`), which is kept with the answer (`record`), or, where the
process died before, by a worker (`complete`). A service that knows more than the request calls
`record` itself, in the transaction of what it does; the request is then not recorded a second time.

Rewriting the past is refused by the database (audit_guard.py), shows in `verify`, and, where
somebody rewrote the whole chain, in its end: which is why `verify` tells the end, to be kept
elsewhere. Why so: docs/decisions/0035-audit-and-tokens.md.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from django.contrib.auth.models import AnonymousUser
from django.db import transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from distillhub.lib.phrased import Phrased
from projects.models import ApiToken, AuditEntry, AuditHead, AuditPromise, Project, User

HEAD = 1  # the key of the one row at the end of the chain
END = Phrased(lambda: AuditHead.objects.select_for_update().filter(pk=HEAD))
BEGINNING = "0" * 64  # what the first entry holds as the digest before it
BATCH = 2000  # entries that are verified at a time
#: For so long an answer may be on its way after what was asked for is true: files are moved.
ANSWERED_WITHIN = timedelta(minutes=10)

VIAS = ("page", "rest", "mlflow", "command", "worker")

# What stands in `detail`: enough to know what was asked, little enough to keep for ever.
LONGEST_TEXT = 200  # characters
MOST_PARTS = 20  # of a list or an object
DEEPEST = 5
MOST_CHARACTERS = 4000  # of all of it, as JSON

HIDDEN = "(hidden)"
#: In the name of a field: what stands there is a secret, or may hold one.
SECRET_NAMES = re.compile(
    r"pass|secret|token|key|auth|cred|url|cookie|csrf|otp|code|signature|sealed|repeated|phrase"
    r"|session|bearer|private|webhook|dsn|header",
    re.IGNORECASE,
)
#: Names that are known to hold none, although they look like it.
PLAIN_NAMES = frozenset(
    {"tokens", "max_tokens", "max_new_tokens", "token_kind", "key_column", "source_kind"}
)
#: In any text: our own tokens, keys of services, and addresses that carry a password.
SECRET_TEXTS = re.compile(
    r"dh_[\w-]{16,}|whsec_[\w+/=-]{8,}|\b(?:sk|hf|ghp|gho|xox[abp]|AKIA)[-_]?[\w-]{12,}"
    r"|(?i:bearer|basic)\s+[\w.~+/=-]{8,}|eyJ[\w-]{8,}\.[\w.-]+|//[^/\s:@]+:[^/\s@]+@"
)


@dataclass(slots=True)
class Asked:
    """The request that is being answered: what an entry says of it, and whether there is one."""

    via: str
    address: str = ""
    request_id: str = ""
    token: Callable[[], ApiToken | None] = lambda: None  # known once somebody looked who asks
    key: str = field(default_factory=lambda: uuid4().hex)  # of its promise
    promised: bool = False
    _is_kept: bool = False

    def carry(self) -> None:
        """An entry or its promise is in the transaction that is open."""
        transaction.on_commit(self._keep)

    def is_carried(self) -> bool:
        """Whether one is committed, or will be with the transaction that is open. What was rolled
        back took it along."""
        waiting = transaction.get_connection().run_on_commit
        return self._is_kept or any(one[1] == self._keep for one in waiting)

    def _keep(self) -> None:
        self._is_kept = True


_asked: ContextVar[Asked | None] = ContextVar("asked", default=None)


@contextmanager
def answering(asked: Asked) -> Iterator[None]:
    """While this request is answered, entries say that they came by it."""
    before = _asked.set(asked)
    try:
        yield
    finally:
        _asked.reset(before)


@transaction.atomic
def record(
    action: str,
    *,
    by: User | AnonymousUser | str | None,
    project: Project | None = None,
    subject: str = "",
    detail: Mapping[str, Any] | None = None,
    via: str = "",
) -> AuditEntry:
    """Add an entry at the end of the chain, in the transaction that is open, if any.

    `by` may be a name, where it is no user of ours (who typed a command, who failed to sign in).
    What is not told of the request is taken from it. Secrets are taken out of `detail`, which is
    shortened; it is for people to read, not to restore anything from.
    """
    asked = _asked.get()
    if asked is not None:
        take_promise(asked)
        asked.carry()
    return _add(_told(action, by, project, subject, detail, via), at=timezone.now())


def _told(
    action: str,
    by: User | AnonymousUser | str | None,
    project: Project | None,
    subject: str,
    detail: Mapping[str, Any] | None,
    via: str = "",
) -> dict[str, Any]:
    """The columns of an entry that tell of the act."""
    asked = _asked.get()
    person = by if isinstance(by, User) else None
    actor = by if isinstance(by, str) else person.username if person is not None else ""
    token = asked.token() if asked is not None else None
    return {
        "actor_id": person.pk if person is not None else None,
        "actor": actor[:150],
        "via": via or (asked.via if asked is not None else "worker"),
        "token": f"{token.name} ({token.prefix}…)"[:120] if token is not None else "",
        "address": asked.address[:45] if asked is not None else "",
        "request_id": asked.request_id[:64] if asked is not None else "",
        "action": action[:60],
        "project_id": project.pk if project is not None else None,
        "project": project.slug if project is not None else "",
        "subject": _clean(subject)[:300],
        "detail": shown(detail or {}),
    }


def _add(told: Mapping[str, Any], *, at: datetime) -> AuditEntry:
    """At the end of the chain, which is locked until this transaction is over."""
    head = END.first() or AuditHead.objects.select_for_update().get_or_create(pk=HEAD)[0]
    entry = AuditEntry(number=head.number + 1, at=at, previous=head.digest, **told)
    entry.digest = digest(entry)
    entry.save(force_insert=True)
    AuditHead.objects.filter(pk=HEAD).update(number=entry.number, digest=entry.digest)
    return entry


# What is true before it is answered ------------------------------------------------------------


def promise(
    action: str,
    *,
    by: User | AnonymousUser | None,
    project: Project | None = None,
    subject: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """In the transaction that makes it true: that the request which is being answered did it.
    Nobody waits for the chain."""
    asked = _asked.get()
    if asked is None:
        raise ValueError("Only what answers a request promises an entry; others record it.")
    # Committed by a transaction whose other callbacks failed before ours.
    if not (asked.promised and AuditPromise.objects.filter(pk=asked.key).exists()):
        told = _told(action, by, project, subject, detail)
        made = AuditPromise(key=asked.key, at=timezone.now(), made_at=Now(), told=told)
        made.save(force_insert=True)
    asked.promised = True
    asked.carry()


def take_promise(asked: Asked) -> bool:
    """What was promised is written now, in the transaction that is open, or was refused. Whether
    there was one: else what made it was rolled back, or a worker was quicker."""
    if not asked.promised:
        return False
    return AuditPromise.objects.filter(pk=asked.key).delete()[0] > 0


def complete(*, after: timedelta = ANSWERED_WITHIN) -> int:
    """Write the entries of acts whose processes died before they answered; how many. Harmless to
    repeat, and in two processes at once."""
    written = 0
    late = AuditPromise.objects.filter(made_at__lte=Now() - after).order_by("made_at")
    for key in list(late.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            one = AuditPromise.objects.select_for_update().filter(pk=key).first()
            if one is None:
                continue
            one.delete()
            told = one.told | {"detail": {**one.told["detail"], "unanswered": True}}
            _add(told, at=one.at)
            written += 1
    return written


# The chain ------------------------------------------------------------------------------------

COLUMNS = (
    *("number", "at", "actor_id", "actor", "via", "token", "address", "request_id", "action"),
    *("project_id", "project", "subject", "detail", "previous"),
)


def digest(entry: AuditEntry) -> str:
    """sha256 of every other column, the digest before it included, as canonical JSON: keys
    sorted, no blanks, UTF-8, the moment in UTC with microseconds."""
    row = {**{name: getattr(entry, name) for name in COLUMNS}, "at": moment(entry.at)}
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class Verified:
    """What became of looking at every entry: all is well where `fault` is empty."""

    entries: int
    head: str  # of the last one that is right: "120:abcdef…"
    fault: str = ""
    at: int | None = field(default=None)  # the number of the first entry that is not right


def verify(*, against: str = "") -> Verified:
    """Walk the chain from its beginning. `against` is a head that was told earlier and kept
    elsewhere: it must still be in the chain."""
    number, before, wanted = 0, BEGINNING, dict([_pair(against)]) if against else {}

    def wrong(sentence: str) -> Verified:
        return Verified(number, f"{number}:{before}", sentence, number + 1)

    while True:
        batch = list(AuditEntry.objects.filter(number__gt=number).order_by("number")[:BATCH])
        if not batch:
            break
        for entry in batch:
            if entry.number != number + 1:
                return wrong(f"Entry {number + 1} is missing.")
            if entry.previous != before:
                return wrong(f"Entry {entry.number} does not follow the one before it.")
            if digest(entry) != entry.digest:
                return wrong(f"Entry {entry.number} was changed after it was written.")
            if wanted.get(entry.number, entry.digest) != entry.digest:
                return wrong(f"Entry {entry.number} is another than when it was last looked at.")
            number, before = entry.number, entry.digest
            wanted.pop(number, None)
    end = AuditHead.objects.filter(pk=HEAD).first()
    if (end.number, end.digest) != (number, before) if end is not None else number:
        return wrong(f"The chain ends with entry {number}; entries behind it are missing.")
    if wanted:
        return wrong(f"Entry {next(iter(wanted))}, which was there, is missing.")
    return Verified(number, f"{number}:{before}")


def _pair(head: str) -> tuple[int, str]:
    number, _, found = head.partition(":")
    if not number.isdecimal() or not re.fullmatch(r"[0-9a-f]{64}", found):
        raise ValueError("A head is written as `distillhub audit verify` tells it: 120:abcdef…")
    return int(number), found


# Reading --------------------------------------------------------------------------------------


def found(
    *,
    project: Project | None = None,
    action: str = "",
    actor: str = "",
    via: str = "",
    q: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
) -> QuerySet[AuditEntry]:
    """Entries, newest first: of a project, or of everything.

    `action` is the whole name or its noun (`run`); `q` is looked for in the subject and in the
    project's name.
    """
    entries = AuditEntry.objects.all()
    if project is not None:
        entries = entries.filter(project_id=project.pk)
    if action:
        entries = entries.filter(Q(action=action) | Q(action__startswith=f"{action}."))
    if actor:
        entries = entries.filter(actor=actor)
    if via:
        entries = entries.filter(via=via)
    if q:
        entries = entries.filter(Q(subject__icontains=q) | Q(project__icontains=q))
    if since is not None:
        entries = entries.filter(at__gte=since)
    if until is not None:
        entries = entries.filter(at__lt=until)
    return entries


def may_see_all(user: User | AnonymousUser) -> bool:
    return user.is_active and user.is_superuser


# What is told of a request --------------------------------------------------------------------


def shown(detail: Mapping[str, Any]) -> dict[str, Any]:
    """What may be kept of it: without secrets, short, and the same on every database."""
    kept: dict[str, Any] = _kept(dict(detail), 0)
    while len(json.dumps(kept, ensure_ascii=False)) > MOST_CHARACTERS and kept:
        longest = max(kept, key=lambda name: len(json.dumps(kept[name], ensure_ascii=False)))
        if kept[longest] == "(long)":
            break
        kept[longest] = "(long)"
    return kept


def _kept(value: Any, level: int) -> Any:
    if isinstance(value, Mapping):
        if level >= DEEPEST:
            return "(deep)"
        parts = [(_clean(str(name))[:60], part) for name, part in value.items()][:MOST_PARTS]
        return {name: _named(name, part, level) for name, part in parts}
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        if level >= DEEPEST:
            return "(deep)"
        more = len(value) - MOST_PARTS
        parts = [_kept(part, level + 1) for part in value[:MOST_PARTS]]
        return [*parts, f"(and {more} more)"] if more > 0 else parts
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else str(value)
    if isinstance(value, float):
        # The same number on every database: PostgreSQL writes others than Python does.
        if value.is_integer() and abs(value) < 1 << 53:
            return int(value)
        return value if 1e-4 <= abs(value) < 1e15 else repr(value)
    return _text(str(value))


def _named(name: str, value: Any, level: int) -> Any:
    is_secret = SECRET_NAMES.search(name) is not None and name not in PLAIN_NAMES
    if not is_secret or value is None or isinstance(value, bool | int | float) or value == "":
        return _kept(value, level + 1)
    host = _host(value) if "url" in name.lower() else ""
    return host or HIDDEN


def _host(value: Any) -> str:
    """Of an address, which may hold a secret in every other part."""
    try:
        parts = urlsplit(str(value))
        return _clean(f"{parts.scheme}://{parts.hostname}")[:LONGEST_TEXT] if parts.hostname else ""
    except ValueError:
        return ""


def _text(text: str) -> str:
    text = SECRET_TEXTS.sub(HIDDEN, _clean(text))
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _clean(text: str) -> str:
    """Nothing that a database could not keep: NUL, halves of surrogate pairs."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode()
