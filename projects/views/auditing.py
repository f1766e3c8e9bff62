"""Every request that changed something, into the audit log: pages, REST, and what speaks MLflow's
protocol alike.

What changed something is known by what it did: it was not refused, and it wrote rows. Forms that
are shown again with a fault, repetitions that are answered from memory and redirects that only say
why not wrote none.

What came of it is known when it is answered, and by then it is true. So the first transaction that
writes carries the promise of an entry (services/audit.py): a process that is killed before it
answers leaves the promise, and a worker keeps it.
"""

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.db.models import CharField
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, ResolverMatch, resolve

from distillhub.lib import request_ids, visitors
from distillhub.lib.phrased import Given, Phrased
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
#: What MLflow's clients send of the thing that it is about, the nearest first.
OF_MLFLOW = ("run_id", "run_uuid", "model_id", "run_name", "name", "experiment_id")
#: What an address calls the thing that it is about; of a creation, the answer does.
NAMES = ("reference", "number", "name", "username", "slug", "id")
NAMED = Phrased(lambda: Project.objects.only("slug").filter(slug=Given("slug", CharField())))


class Watch:
    """Has the transaction that writes first carry the promise of an entry.

    A statement in no transaction is given one, so that the promise is true when it is. SQLite alone
    cannot commit an INSERT whose answer (`RETURNING`) is not read yet: of such a one it is noted
    that it was `alone`.
    """

    def __init__(self, request: HttpRequest, asked: audit.Asked) -> None:
        self.request, self.asked = request, asked
        self.alone = False
        self.project: Project | None = None  # that the address names, once something was promised
        self._rests = False  # while it writes itself, and where nothing is recorded

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if self._rests or not _changes(sql) or self.asked.is_carried():
            return execute(sql, params, many, context)
        act = _act(self.request)
        if act is None:
            self._rests = True
            return execute(sql, params, many, context)
        if connection.in_atomic_block:
            done = execute(sql, params, many, context)
            self._promise(*act)
        elif connection.vendor == "sqlite" and " RETURNING " in sql:
            done = execute(sql, params, many, context)
            self.alone = True
        else:
            with transaction.atomic():
                done = execute(sql, params, many, context)
                self._promise(*act)
        return done

    def _promise(self, action: str, match: ResolverMatch) -> None:
        slug = str(match.kwargs.get("project_slug", ""))
        self._rests = True
        try:
            self.project = _project(slug)
            audit.promise(
                action,
                by=_person(self.request),
                project=self.project,
                subject=_named(self.request, match) or slug,
                detail=_detail(self.request),
            )
        finally:
            self._rests = False


def _changes(sql: str) -> bool:
    table = WRITES.match(sql)
    return table is not None and table[1] not in BESIDE and not LAST_USE.match(sql)


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
            watch = Watch(request, asked)
            with connection.execute_wrapper(watch):
                response = self.get_response(request)
            if asked.promised or watch.alone:
                with _never_in_the_way(request):
                    _answered(request, response, watch)
        return response


@transaction.atomic
def _answered(request: HttpRequest, response: HttpResponse, watch: Watch) -> None:
    """Keep the promise, now that it is known what came of it; forget it where that is a refusal.
    What failed after it was true (500) was done."""
    is_done = audit.take_promise(watch.asked)
    is_done = is_done or (watch.alone and not watch.asked.is_carried())
    act = _act(request)
    if not is_done or act is None or 400 <= response.status_code < 500:
        return
    action, match = act
    slug = str(match.kwargs.get("project_slug") or _made_slug(action, response))
    failed = {"answered": response.status_code} if response.status_code >= 500 else {}
    watch.asked.promised = False  # taken above
    audit.record(
        action,
        by=_person(request),
        project=watch.project or _project(slug),
        subject=_subject(request, match, response) or slug,
        detail=_detail(request) | failed,
    )


def _act(request: HttpRequest) -> tuple[str, ResolverMatch] | None:
    """What it is called, and its address; None of what is not recorded."""
    match = request.resolver_match
    if match is None:
        return None
    action = acts.act(match.view_name or "", request.method or "")
    return (action, match) if action else None


def _person(request: HttpRequest) -> User | None:
    return request.user if isinstance(request.user, User) else None


def _project(slug: str) -> Project | None:
    return NAMED.first(slug=slug) if slug else None


@contextmanager
def _never_in_the_way(request: HttpRequest) -> Iterator[None]:
    """It is done already: who asked is told so, whatever the log's database says by now. What was
    promised is written by a worker."""
    try:
        yield
    except DatabaseError:
        logger.exception("not in the audit log yet: %s %s", request.method, request.path_info)


def _via(request: HttpRequest) -> str:
    path = request.path_info
    return (
        "rest" if path.startswith("/api/") else "mlflow" if path.startswith("/mlflow/") else "page"
    )


def _token(request: HttpRequest) -> ApiToken | None:
    """REST framework leaves it on the request that it was given."""
    token = getattr(request, "auth", None)
    return token if isinstance(token, ApiToken) else None


def _subject(request: HttpRequest, match: ResolverMatch, response: HttpResponse) -> str:
    """What it was done to, as the address names it, or what came of it."""
    named, made = _named(request, match), _made(response)
    again = made.removeprefix("→ ") == named
    return " / ".join(part for part in (named, "" if again else made) if part)


def _named(request: HttpRequest, match: ResolverMatch) -> str:
    named = [str(value) for name, value in match.kwargs.items() if name != "project_slug"]
    if not named and _via(request) == "mlflow":  # its addresses name nothing: what is sent does
        asked = _detail(request)
        one = next((asked[name] for name in OF_MLFLOW if asked.get(name)), "")
        named = [str(part) for part in (one, asked.get("version")) if part]
    return " / ".join(named)


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
