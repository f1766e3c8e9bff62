"""Who calls the REST API: a bearer token, or a browser session with CSRF."""

from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from django.db import OperationalError, connection
from django.utils import timezone
from rest_framework.authentication import (
    BaseAuthentication,
    SessionAuthentication,
    get_authorization_header,
)
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.request import Request

from distillhub.lib import tokens
from distillhub.lib.locks import at_once
from projects.models import ApiToken, User


class TokenAuthentication(BaseAuthentication):
    keyword = b"bearer"

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        parts = get_authorization_header(request).split()
        if not parts or parts[0].lower() != self.keyword:
            return None
        if len(parts) != 2:
            raise AuthenticationFailed("Send `Authorization: Bearer <token>`.")
        found = (
            ApiToken.objects.usable()
            .select_related("user")
            .filter(digest=tokens.digest(parts[1].decode("latin-1")))
            .first()
        )
        if found is None:
            raise AuthenticationFailed("This token is unknown, expired or revoked.")
        now = timezone.now()
        if found.last_used_at is None or now - found.last_used_at > timedelta(minutes=1):
            _note_use(found, now)
        return found.user, found

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
    posted to says `only_reads = True`."""

    message = "This token may only read."

    def has_permission(self, request: Request, view: Any) -> bool:
        return (
            request.method in SAFE_METHODS
            or getattr(view, "only_reads", False)
            or not may_only_read(request)
        )


def may_only_read(request: Request) -> bool:
    """Whether it came with a token of scope `read`."""
    token = request.auth
    return isinstance(token, ApiToken) and token.scope == ApiToken.Scope.READ
