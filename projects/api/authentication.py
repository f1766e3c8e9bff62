"""Who calls the REST API: a bearer token, or a browser session with CSRF."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import OperationalError, connection
from django.db.models import CharField, DateTimeField
from django.utils import timezone
from rest_framework.authentication import (
    BaseAuthentication,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from distillhub.lib import tokens, visitors
from distillhub.lib.errors import Missing
from distillhub.lib.locks import at_once
from distillhub.lib.phrased import Given, Phrased
from projects.models import ApiToken, User
from projects.services import guesses
from projects.services import tokens as scopes

USABLE = Phrased(
    lambda: (
        ApiToken.objects.usable(Given("now", DateTimeField()))
        .select_related("user", "project")
        .filter(digest=Given("digest", CharField()))
    )
)


class TokenAuthentication(BaseAuthentication):
    keyword = b"bearer"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        sent = self.sent(request)
        if sent is None:
            return None
        now = timezone.now()
        found = USABLE.first(digest=tokens.digest(sent), now=now)
        if found is None:
            # Whoever has a token is answered whatever others of their network guess.
            place = visitors.network(visitors.address(request._request))
            guesses.take(guesses.TOKEN, place, most=settings.DISTILLHUB_GUESSES_OF_ADDRESS)
            raise AuthenticationFailed("This token is unknown, expired or revoked.")
        if found.last_used_at is None or now - found.last_used_at > timedelta(minutes=1):
            _note_use(found, now)
        return found.user, found

    def sent(self, request: Request) -> str | None:
        """The token that came with a request. Raises AuthenticationFailed."""
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != self.keyword:
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("Send `Authorization: Bearer <token>`.")
        return str(parts[1].decode("latin-1"))

    def authenticate_header(self, request: Request) -> str:
        return "Bearer"


def _note_use(token: ApiToken, now: datetime) -> None:
    """Where somebody else holds SQLite's lock it is noted next time: readers wait for nobody."""
    with suppress(OperationalError), at_once(connection):
        ApiToken.objects.filter(pk=token.pk).update(last_used_at=now)


class BrowserSessionAuthentication(SessionAuthentication):
    """Sessions with CSRF; a 401 still names Bearer, because TokenAuthentication comes first."""


class TokenScopeAllows(BasePermission):
    """A token of scope `read` may not change anything; a view that changes nothing although it is
    posted to says `only_reads = True`. Narrower ones open what services/tokens.py lists."""

    def has_permission(self, request: Request, view: Any) -> bool:
        token = request.auth
        if not isinstance(token, ApiToken):
            return True
        match = request._request.resolver_match
        method = "GET" if request.method == "HEAD" else request.method or ""
        open_to = scopes.OPEN_TO.get((method, match.view_name if match else ""), ())
        reads = request.method in SAFE_METHODS or getattr(view, "only_reads", False)
        self.message = f"This token may only {scopes.SCOPES[token.scope]}."
        return scopes.allows(token, reads=reads, open_to=open_to)


class TokenProjectAllows(BasePermission):
    """A token of one project opens that one. Others do not exist for it, and what tells of all of
    them is forbidden."""

    def has_permission(self, request: Request, view: Any) -> bool:
        token = request.auth
        if not isinstance(token, ApiToken) or token.project is None:
            return True
        if slug := view.kwargs.get("project_slug"):
            if not scopes.opens(token, slug):
                raise Missing("There is no such project.")
            return True
        self.message = f"This token opens the project {token.project.slug} only."
        match = request._request.resolver_match
        if match is not None and match.view_name == "api_me" and request.method not in SAFE_METHODS:
            return False  # whose name and address are no project's
        return match is not None and match.view_name in scopes.OF_NO_PROJECT


def may_only_read(request: Request) -> bool:
    """Whether it came with a token of scope `read`."""
    token = request.auth
    return isinstance(token, ApiToken) and token.scope == ApiToken.Scope.READ
