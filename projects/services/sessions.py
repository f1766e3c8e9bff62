"""Where a person is signed in (django-allauth's UserSession), and how to end it."""

import re
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.http import HttpRequest

from distillhub.lib.errors import Missing
from projects.models import User

BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def note(request: HttpRequest) -> None:
    """This browser is one of those that are signed in: after its session got another key, too."""
    UserSession.objects.create_from_request(request)


def of(user: User, request: HttpRequest) -> list[UserSession]:
    """All that still stand, this one first."""
    if request.session.get(SESSION_KEY):  # and no token asks
        note(request)
    found: list[UserSession] = UserSession.objects.purge_and_list(user)
    for one in found:
        one.is_mine = one.session_key == request.session.session_key
        one.told = told(one.user_agent)
    return sorted(found, key=lambda one: (not one.is_mine, -one.created_at.timestamp()))


def end(*, user: User, pk: int) -> None:
    """Sign that browser out at once. Raises Missing when it is somebody else's."""
    found = UserSession.objects.filter(user=user, pk=pk).first()
    if found is None:
        raise Missing("This browser is not signed in as you.")
    found.end()


def end_others(*, user: User, request: HttpRequest) -> int:
    """All but this one; how many."""
    others = UserSession.objects.filter(user=user).exclude(session_key=request.session.session_key)
    return _end(others)


def end_all(*, user: User) -> int:
    return _end(UserSession.objects.filter(user=user))


def _end(found: Iterable[Any]) -> int:
    store = import_module(settings.SESSION_ENGINE).SessionStore()
    rows = list(found)
    for one in rows:
        store.delete(one.session_key)
        one.delete()
    return len(rows)


def told(user_agent: str) -> str:
    """`Firefox on Linux`, of what a browser says of itself."""
    browser = next((name for word, name in BROWSERS if word in user_agent), "")
    system = next((name for word, name in SYSTEMS if word in user_agent), "")
    if browser and system:
        return f"{browser} on {system}"
    return browser or system or re.sub(r"[^\w./ -]", "", user_agent)[:60] or "an unknown program"
