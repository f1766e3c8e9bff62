"""One creating request, sent again, is one creation: the second is answered like the first."""

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid
from projects.models import IdempotencyKey, User

LONGEST = 200  # characters of a key
KEPT = timedelta(days=7)
ABANDONED = timedelta(minutes=5)  # a claim this old belongs to a process that died
PATIENCE = 3.0  # seconds a repetition waits for the first to finish
GLANCE = 0.05  # seconds between two looks


class KeyUsedOtherwise(Conflict):
    code = "idempotency_conflict"


class StillInProgress(Conflict):
    """The first request with this key has not been answered yet."""

    code = "in_progress"
    retry_after = 1  # seconds


@dataclass(frozen=True, slots=True)
class Answered:
    status: int
    answer: Any  # JSON
    repeated: bool


def digest(parts: Iterable[bytes]) -> str:
    """sha256 of method, path and body; each part's length goes in, so that none can pose as two."""
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big"))
        total.update(part)
    return total.hexdigest()


def once(
    *,
    user: User,
    key: str,
    request_digest: str,
    work: Callable[[], tuple[int, Any]],
    together: bool = True,
    forget: Iterable[str] = (),
) -> Answered:
    """Do `work` the first time this person sends this key; answer from memory afterwards.

    `work` returns (HTTP status, JSON). What it writes and the remembered answer are committed
    together, unless `together` is False (work that moves large files must not hold a transaction).
    A failure is not remembered: the key is free again. The fields named in `forget` are secrets
    that are not stored; a repetition shows them as null.

    Raises Invalid (key too long), KeyUsedOtherwise, StillInProgress, and whatever `work` raises.
    """
    if not key.isprintable() or len(key) > LONGEST:
        raise Invalid(f"An Idempotency-Key is at most {LONGEST} printable characters.")
    claim = _claim(user, key, request_digest)
    if claim is None:
        return _remembered(user, key, request_digest)
    try:
        with transaction.atomic() if together else nullcontext():
            status, answer = work()
            _remember(claim, status, answer, forget)
    except BaseException:
        IdempotencyKey.objects.filter(pk=claim.pk, status=None).delete()
        raise
    return Answered(status, answer, repeated=False)


def _claim(user: User, key: str, request_digest: str) -> IdempotencyKey | None:
    now = timezone.now()
    IdempotencyKey.objects.filter(user=user, created_at__lt=now - KEPT).delete()
    try:
        with transaction.atomic():
            return IdempotencyKey.objects.create(
                user=user, key=key, request_digest=request_digest, status=None, answer=None
            )
    except IntegrityError:
        pass
    # Taken. If its process died in the middle, exactly one repetition may take it over.
    abandoned = IdempotencyKey.objects.filter(
        user=user,
        key=key,
        request_digest=request_digest,
        status=None,
        created_at__lt=now - ABANDONED,
    )
    if abandoned.update(created_at=now):
        return IdempotencyKey.objects.get(user=user, key=key)
    return None


def _remember(claim: IdempotencyKey, status: int, answer: Any, forget: Iterable[str]) -> None:
    kept = answer
    if isinstance(answer, Mapping):
        kept = {name: None if name in forget else part for name, part in answer.items()}
    IdempotencyKey.objects.filter(pk=claim.pk).update(status=status, answer=kept)


def _remembered(user: User, key: str, request_digest: str) -> Answered:
    give_up = time.monotonic() + PATIENCE
    while True:
        found = IdempotencyKey.objects.filter(user=user, key=key).first()
        if found is not None and found.request_digest != request_digest:
            raise KeyUsedOtherwise("This Idempotency-Key was used for another request.")
        if found is not None and found.status is not None:
            return Answered(found.status, found.answer, repeated=True)
        if found is None or time.monotonic() > give_up:
            # Gone: the first one failed between our two looks; the next try will be the first.
            raise StillInProgress("The first request with this key is still in progress.")
        time.sleep(GLANCE)
