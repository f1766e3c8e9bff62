"""Small pieces between Django and HTTP that know nothing of the product."""

import sys
from collections.abc import Callable
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_safe

from distillhub.lib import database, mlflow_faults, readiness, request_ids
from distillhub.lib.errors import DomainError

Answer = Callable[[HttpRequest], HttpResponse]

POLICY = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), interest-cohort=()"


class SecurityHeadersMiddleware:
    """Permissions policy and cross-origin isolation on every answer."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        response.headers.setdefault("Permissions-Policy", POLICY)
        response.headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
        return response


class ProbesMiddleware:
    """To a probe it is no matter who asks, and knowing it takes the database."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path_info in settings.PROBES:
            request.COOKIES.clear()
        return self.get_response(request)


class RefuseNulMiddleware:
    """No address or query of ours holds a NUL character; PostgreSQL would fail on it."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if "\x00" in request.path_info:
            return not_found(request)
        if "%00" in request.META.get("QUERY_STRING", ""):
            return _error(request, 400, "The address holds a NUL character.", "invalid")
        return self.get_response(request)


class RefuseNulInFormsMiddleware:
    """Nor does a form of a page, whose view may read it without a form's own checks. REST has
    parsers of its own, and what reads a body as it comes is left to do so."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, *rest: Any) -> HttpResponse | None:
        if request.method != "POST" or getattr(view, "csrf_exempt", False):
            return None
        for name, values in request.POST.lists():  # the check of CSRF has read it already
            if "\x00" in name or any("\x00" in value for value in values):
                return _error(request, 400, "A text holds a NUL character.", "invalid")
        return None


class TimeZoneMiddleware:
    """Times on pages are those of the person's own zone; REST always says UTC."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        with timezone.override(None if _is_rest(request) else _zone_of(request)):
            return self.get_response(request)


def _zone_of(request: HttpRequest) -> ZoneInfo | None:
    try:
        return ZoneInfo(getattr(request.user, "time_zone", "") or "UTC")
    except (ZoneInfoNotFoundError, ValueError):  # this machine does not know it
        return None


class DomainErrorMiddleware:
    """An expected failure that a page did not show at a field becomes a plain page with its
    sentence (REST has its own exception handler)."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        return _expected(request, error) if isinstance(error, DomainError) else None


def safe_next(request: HttpRequest, default: str) -> str:
    """Where `?next=` points, if that is an address of this site, else `default`."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    allowed = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if allowed else default


def error_page(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    """A whole page. For failures of ours it asks nothing of the database, which may be away: not
    even what is known of every request."""
    context = {
        "status": status,
        "phrase": HTTPStatus(status).phrase,
        "detail": detail,
        "request_id": request_ids.current(),
    }
    if status >= 500:
        return HttpResponse(render_to_string("error_plain.html", context), status=status)
    return render(request, "error.html", context, status=status)


def json_error(status: int, detail: str, code: str) -> JsonResponse:
    return JsonResponse({"detail": detail, "code": code, "fields": {}}, status=status)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    detail = "This form was open for too long, or cookies are off. Go back, reload and try again."
    return _error(request, 403, detail, "csrf_failed")


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 400, "This request cannot be understood.", "invalid")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    return _error(request, 403, "You may not do this.", "forbidden")


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return _error(
        request, 404, "There is nothing at this address, or you may not see it.", "not_found"
    )


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    if isinstance(error, DomainError):  # met before the view, while its form was read
        return _expected(request, error)
    if database.is_away(error):
        detail = "The database does not answer just now; try again in a moment."
        response = _error(request, 503, detail, "unavailable")
        response.headers["Retry-After"] = "5"
        return response
    return _error(request, 500, "Something went wrong on our side; it has been logged.", "error")


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """This process answers; nothing else is asked."""
    return JsonResponse({"status": "ok"})


@login_not_required
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """What this process needs, part by part. 503 when it can answer nobody: without the database.
    Without broker or storage its pages still work, so it is `degraded`, and 200 unless the probe
    asks with `?strict=1`: no balancer should take every web process away with the broker."""
    states = readiness.states()
    missing = [name for name, state in states.items() if state != readiness.OK]
    status = "unavailable" if "database" in missing else "degraded" if missing else "ok"
    is_bad = status == "unavailable" or (missing and request.GET.get("strict") == "1")
    response = JsonResponse({"status": status} | states, status=503 if is_bad else 200)
    if is_bad:
        response.headers["Retry-After"] = "5"
    response.headers["Cache-Control"] = "no-store"
    return response


def _expected(request: HttpRequest, error: DomainError) -> HttpResponse:
    response = _error(request, error.status, error.detail, error.code)
    if error.retry_after is not None:
        response.headers["Retry-After"] = str(error.retry_after)
    return response


def _is_rest(request: HttpRequest) -> bool:
    return request.path_info.startswith(("/api/", mlflow_faults.PREFIX))


def _error(request: HttpRequest, status: int, detail: str, code: str) -> HttpResponse:
    if request.path_info.startswith(mlflow_faults.PREFIX):
        return mlflow_faults.told(status, detail, code)
    if _is_rest(request):
        return json_error(status, detail, code)
    return error_page(request, status, detail)
