"""Every request that changed something, into the audit log: pages, REST, and what speaks MLflow's
protocol alike.

What changed something is known by what it did: it was not refused, and it wrote rows. Forms that
are shown again with a fault, repetitions that are answered from memory and redirects that only say
why not wrote none.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connection
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, ResolverMatch, resolve

from distillhub.lib import request_ids, visitors
from projects.models import ApiToken, Project, User
from projects.services import acts, audit

logger = logging.getLogger(__name__)

Answer = Callable[[HttpRequest], HttpResponse]

WRITES = re.compile(r'\s*(?:INSERT\s+(?:OR\s+\w+\s+)?INTO|UPDATE|DELETE\s+FROM)\s+"?(\w+)"?', re.I)
#: Tables that tell of the request itself and not of what it did.
BESIDE = frozenset(
    {
        *("django_session", "projects_idempotencykey", "usersessions_usersession"),
        *("axes_accessattempt", "axes_accesslog", "axes_accessfailurelog", "projects_guess"),
    }
)
LAST_USE = re.compile(r'UPDATE "projects_apitoken" SET "last_used_at" = \S+ WHERE')
#: What an address calls the thing that it is about; of a creation, the answer does.
NAMES = ("reference", "number", "name", "username", "slug", "id")


class Watch:
    """Whether anything was written."""

    def __init__(self) -> None:
        self.wrote = False

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        done = execute(sql, params, many, context)
        if not self.wrote:
            table = WRITES.match(sql)
            self.wrote = bool(table and table[1] not in BESIDE and not LAST_USE.match(sql))
        return done


class AuditMiddleware:
    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        asked = audit.Asked(
            via=_via(request),
            address=visitors.address(request),
            request_id=request_ids.current(),
            token=lambda: _token(request),
        )
        with audit.answering(asked):
            if request.method not in acts.CHANGING:
                return self.get_response(request)
            watch = Watch()
            with connection.execute_wrapper(watch):
                response = self.get_response(request)
            if response.status_code < 400 and watch.wrote and not asked.recorded:
                with _never_in_the_way(request):
                    _record(request, response)
        return response


def _record(request: HttpRequest, response: HttpResponse) -> None:
    match = request.resolver_match
    if match is None:
        return
    action = acts.act(match.view_name or "", request.method or "")
    if not action:
        return
    kwargs = match.kwargs
    slug = str(kwargs.get("project_slug") or _made_slug(action, response))
    user = request.user
    audit.record(
        action,
        by=user if isinstance(user, User) else None,
        project=Project.objects.filter(slug=slug).first() if slug else None,
        subject=_subject(match, response) or slug,
        detail=_detail(request),
    )


@contextmanager
def _never_in_the_way(request: HttpRequest) -> Iterator[None]:
    """It is done already: who asked is told so, whatever the log's database says by now."""
    try:
        yield
    except DatabaseError:
        logger.exception("not in the audit log: %s %s", request.method, request.path_info)


def _via(request: HttpRequest) -> str:
    path = request.path_info
    return (
        "rest" if path.startswith("/api/") else "mlflow" if path.startswith("/mlflow/") else "page"
    )


def _token(request: HttpRequest) -> ApiToken | None:
    """REST framework leaves it on the request that it was given."""
    token = getattr(request, "auth", None)
    return token if isinstance(token, ApiToken) else None


def _subject(match: ResolverMatch, response: HttpResponse) -> str:
    """What it was done to, as the address names it, or what came of it."""
    named = {name: value for name, value in match.kwargs.items() if name != "project_slug"}
    made = _made(response)
    if made:
        named["made"] = made
    return " / ".join(str(value) for value in named.values())


def _made(response: HttpResponse) -> str:
    """The name of what a creation answers with, or leads to."""
    data = getattr(response, "data", None)
    if response.status_code in (201, 202) and isinstance(data, dict):
        return next((str(data[name]) for name in NAMES if data.get(name) not in (None, "")), "")
    target = response.headers.get("Location", "")
    if response.status_code in (302, 303) and target.startswith("/"):
        try:
            found = resolve(target.partition("?")[0])
        except Resolver404:
            return ""
        named = [str(value) for name, value in found.kwargs.items() if name != "project_slug"]
        return f"→ {' / '.join(named)}" if named else ""
    return ""


def _made_slug(action: str, response: HttpResponse) -> str:
    """Of a project that is there since now."""
    if action != "project.create":
        return ""
    data = getattr(response, "data", None)
    if isinstance(data, dict):
        return str(data.get("slug", ""))
    try:
        return str(resolve(response.headers.get("Location", "")).kwargs.get("project_slug", ""))
    except Resolver404:
        return ""


def _detail(request: HttpRequest) -> dict[str, Any]:
    """What was asked, as REST or a form has read it already; nothing is read anew."""
    data = getattr(request, "asked_json", None)
    if isinstance(data, dict):
        return data
    told: dict[str, Any] = {}
    if hasattr(request, "_post"):  # else it was not read: what is streamed stays unread
        for name, values in request.POST.lists():
            if name != "csrfmiddlewaretoken" and any(values):
                told[name] = values[0] if len(values) == 1 else values
        for name, file in getattr(request, "_files", {}).items():
            told[name] = getattr(file, "name", "")
    return told
