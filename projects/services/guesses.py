"""Guessing ends: each try is counted before it is judged, by name and by address.

Counting first is what parallel guesses do not dodge, and counting by name what rotating addresses
do not. A name counts whether or not somebody has it, so that nothing is told by what is locked. An
address may try many names (an office is one address), and a browser in which somebody signed in
before has counts of its own: who guesses a person's password locks neither that person nor the
office out. So it is with codes of a second factor, in browsers that passed this one before; codes
are so short that a day has a number of tries, too.
"""

import hashlib
import math
import unicodedata
from datetime import timedelta
from typing import Any

from allauth.mfa.models import Authenticator
from axes.handlers.base import AxesHandler
from django.conf import settings
from django.core import signing
from django.db import IntegrityError, transaction
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import get_random_string

from distillhub.lib import visitors
from distillhub.lib.errors import DomainError
from projects.models import Guess, User
from projects.models.guess import OF_A_DAY
from projects.services import audit

KNOWN = "distillhub_known"  # the cookie of a browser in which somebody signed in
KNOWN_SECONDS = 365 * 86_400
NAME, ADDRESS, BROWSER, CODE, TOKEN = "name", "address", "browser", "code", "token"
CODE_OF_DAY = "code of day"
DAY = timedelta(days=1)
TIMES_A_DAY = 5  # that codes may be tried so often as within the minutes
PASSWORD = "password"  # noqa: S105 - asked for again, of who is signed in


class TooMany(DomainError):
    """Wait before you try again."""

    status, code = 429, "too_many_tries"

    def __init__(self, seconds: float, *, is_first: bool = False) -> None:
        seconds = self.retry_after = max(1, math.ceil(seconds))
        self.is_first = is_first  # after it, nothing new is to be told
        minutes = math.ceil(seconds / 60)
        wait = "a minute" if minutes == 1 else f"{minutes} minutes"
        if minutes > 120:
            wait = f"{math.ceil(minutes / 60)} hours"
        super().__init__(f"There were too many tries. Wait {wait}, then try again.")


def take(kind: str, what: object, *, most: int, within: timedelta | None = None) -> None:
    """Count one try. Raises TooMany when there were more than `most` within the time."""
    now, window = timezone.now(), within or timedelta(minutes=settings.DISTILLHUB_GUESS_MINUTES)
    row = Guess.objects.filter(key=_key(kind, what))
    full = row.filter(since__gt=now - window, count__gt=most).first()
    if full is not None:  # refused without a write, so that a flood costs little
        raise TooMany((full.since + window - now).total_seconds())
    for _ in range(3):
        with transaction.atomic():
            # The row stays locked to the end of this transaction: what is read is our own count.
            done = row.filter(since__gt=now - window).update(count=F("count") + 1)
            done = done or row.filter(since__lte=now - window).update(count=1, since=now)
            found = row.first() if done else None
        if found is None:
            try:
                with transaction.atomic():
                    found = Guess.objects.create(key=_key(kind, what), count=1, since=now)
            except IntegrityError:  # somebody else was the first
                continue
        if found.count > most:
            left = (found.since + window - now).total_seconds()
            raise TooMany(left, is_first=found.count == most + 1)
        return
    raise TooMany(60)


def give_back(kind: str, what: object) -> None:
    """The try was none: it was right."""
    Guess.objects.filter(key=_key(kind, what), count__gt=0).update(count=F("count") - 1)


def forget(kind: str, what: object) -> None:
    Guess.objects.filter(key=_key(kind, what)).delete()


def once(kind: str, what: object) -> bool:
    """Whether nobody has said so before, for the time that counts are kept."""
    key = _key(f"{kind} once", what)
    try:
        with transaction.atomic():
            Guess.objects.create(key=key, count=1, since=timezone.now())
    except IntegrityError:
        return False
    return True


# Passwords ------------------------------------------------------------------------------------


def begin(request: HttpRequest, username: str) -> None:
    """Before a password is looked at. Raises TooMany."""
    if browser := _browser(request, username):
        take(BROWSER, browser, most=settings.DISTILLHUB_GUESSES)
        return
    if place := visitors.network(visitors.address(request)):
        take(ADDRESS, place, most=settings.DISTILLHUB_GUESSES_OF_ADDRESS)
    take(NAME, _plain(username), most=settings.DISTILLHUB_GUESSES)


def right(request: HttpRequest, username: str) -> None:
    """The password was right: this was no guess."""
    if browser := _browser(request, username):
        forget(BROWSER, browser)
        return
    if place := visitors.network(visitors.address(request)):
        give_back(ADDRESS, place)
    forget(NAME, _plain(username))


def know(response: HttpResponse, user: User) -> None:
    """Let this browser have counts of its own from now on."""
    known = signing.dumps([user.pk, get_random_string(16), _factor(user)], salt=KNOWN)
    response.set_cookie(
        KNOWN,
        known,
        max_age=KNOWN_SECONDS,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )


# Codes ----------------------------------------------------------------------------------------


def begin_code(request: HttpRequest, user: User) -> None:
    """Before a code is looked at. Raises TooMany."""
    what = _where(request, user)
    take(CODE, what, most=settings.DISTILLHUB_GUESSES)
    take(CODE_OF_DAY, what, most=settings.DISTILLHUB_GUESSES * TIMES_A_DAY, within=DAY)


def right_code(request: HttpRequest, user: User) -> None:
    """The code was right. What was guessed on this day elsewhere stays counted."""
    what = _where(request, user)
    forget(CODE, what)
    give_back(CODE_OF_DAY, what)


def forget_codes(user: User) -> None:
    """Who tried them knew a password, and knows it no more."""
    forget(CODE, user.pk)
    forget(CODE_OF_DAY, user.pk)


def _where(request: HttpRequest, user: User) -> object:
    """What tries are counted by: the person, or a browser that has passed this second factor. One
    that only knew the password before there was a factor is none: it may be whose guesses they
    are."""
    pk, name, factor = _known(request)
    passed = pk == user.pk and factor != 0 and factor == _factor(user)
    return f"{pk} {name}" if passed else user.pk


def _factor(user: User) -> int:
    """The number of the app that is set up now; 0 for none."""
    apps = Authenticator.objects.filter(user=user, type=Authenticator.Type.TOTP)
    return int(apps.values_list("pk", flat=True).first() or 0)


class Handler(AxesHandler):  # type: ignore[misc]
    """What django-axes asks before each password, whoever calls `authenticate`, and tells after."""

    def is_allowed(self, request: HttpRequest, credentials: dict[str, Any] | None = None) -> bool:
        try:
            begin(request, _named(credentials))
        except TooMany as refused:
            request.refused = refused  # type: ignore[attr-defined]
            return False
        return True

    def user_login_failed(
        self,
        sender: str,
        credentials: dict[str, Any],
        request: HttpRequest | None = None,
        **more: Any,
    ) -> None:
        """Under a name that somebody has: people type their password into the wrong field, too."""
        locked = refused(request) if request is not None else None
        if locked is not None and not locked.is_first:
            return
        username = _named(credentials)
        known = User.objects.filter(username=username).exists()
        action = "sign_in.failed" if locked is None else "sign_in.locked"
        audit.record(action, by=username if known else "", subject=username if known else "")

    def user_logged_in(self, sender: Any, request: HttpRequest, user: User, **more: Any) -> None:
        told = request.session.get("account_authentication_methods", [])
        how = [str(one.get("method", "")) for one in told]
        audit.record("sign_in.done", by=user, subject=user.username, detail={"how": how})

    def user_logged_out(
        self, sender: Any, request: HttpRequest, user: User | None, **more: Any
    ) -> None:
        if user is not None:
            audit.record("sign_out.done", by=user, subject=user.username)


def refused(request: HttpRequest | None) -> TooMany | None:
    """Why `authenticate` said no without a look at the password."""
    return getattr(request, "refused", None)


def _browser(request: HttpRequest, username: str) -> str:
    """Its name, if this person signed in with it before."""
    pk, name, _ = _known(request)
    return name if pk and User.objects.filter(pk=pk, username=username).exists() else ""


def _known(request: HttpRequest) -> tuple[int, str, int]:
    """Of a browser: who signed in last, its name, and the second factor that they passed."""
    try:
        told = signing.loads(request.COOKIES.get(KNOWN, ""), salt=KNOWN, max_age=KNOWN_SECONDS)
        pk, name, factor = told if len(told) == 3 else (*told, 0)
    except (signing.BadSignature, ValueError):
        return 0, "", 0
    return int(pk), str(name), int(factor)


def _named(credentials: dict[str, Any] | None) -> str:
    return str((credentials or {}).get("username") or "")


def _plain(username: str) -> str:
    return unicodedata.normalize("NFKC", username).casefold().strip()


def _key(kind: str, what: object) -> str:
    digest = hashlib.sha256(f"{kind}\n{what}".encode()).hexdigest()
    return f"{OF_A_DAY}{digest[:60]}" if kind == CODE_OF_DAY else digest
