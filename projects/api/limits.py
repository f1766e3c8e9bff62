"""How often a token, or a person in a browser, may ask REST."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from distillhub.lib import rates, visitors
from projects.models import ApiToken, User


class RateLimited(BaseThrottle):
    """Reads and writes are counted apart; each token by itself, so that a script that went wrong
    stops nobody else, its owner included."""

    taken: rates.Taken | None = None

    def allow_request(self, request: Request, view: Any) -> bool:
        self.taken = take(request._request, request.user, request.auth)
        return self.taken is None or self.taken.is_allowed

    def wait(self) -> float | None:
        return float(self.taken.wait) if self.taken is not None else None


def take(request: HttpRequest, user: object, token: object) -> rates.Taken | None:
    """One request, counted; what is left is told by every answer (lib/answers.py). None where
    nothing is limited."""
    is_read = request.method in SAFE_METHODS
    quota = settings.RATE_LIMIT_READ if is_read else settings.RATE_LIMIT_WRITE
    if not quota:
        return None
    if isinstance(token, ApiToken):
        who = f"token {token.pk}"
    elif isinstance(user, User):
        who = f"person {user.pk}"
    else:
        who = f"address {visitors.network(visitors.address(request))}"
    taken = rates.take(rates.Limit("read" if is_read else "write", quota), who)
    request.rate = taken  # type: ignore[attr-defined]
    return taken
