"""Small pieces between Django and HTTP that know nothing of the product."""

from collections.abc import Callable
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

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


class DomainErrorMiddleware:
    """An expected failure that a page did not show at a field becomes a plain page with its
    sentence (REST has its own exception handler)."""

    def __init__(self, get_response: Answer) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, DomainError):
            return None
        return error_page(request, error.status, error.detail)


def error_page(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    context = {"status": status, "phrase": HTTPStatus(status).phrase, "detail": detail}
    return render(request, "error.html", context, status=status)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    detail = "This form was open for too long, or cookies are off. Go back, reload and try again."
    if request.path.startswith("/api/"):
        return JsonResponse({"detail": detail, "code": "csrf_failed", "fields": {}}, status=403)
    return error_page(request, 403, detail)


def json_error(status: int, detail: str, code: str) -> JsonResponse:
    return JsonResponse({"detail": detail, "code": code, "fields": {}}, status=status)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    if request.path.startswith("/api/"):
        return json_error(404, "There is nothing at this address.", "not_found")
    return error_page(request, 404, "There is nothing at this address, or you may not see it.")


def server_error(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        return json_error(500, "Something went wrong on our side; it has been logged.", "error")
    return error_page(request, 500, "Something went wrong on our side; it has been logged.")
