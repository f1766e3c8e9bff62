"""The REST addresses of both apps, their OpenAPI description and its page."""

from functools import cache
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import include, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import SpectacularAPIView

from distillhub.lib import api_docs, http


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "projects.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "projects.api.authentication.BrowserSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "distillhub_session"}


@cache  # it changes with the code only
def _groups() -> list[api_docs.Group]:
    generator = SchemaGenerator()  # type: ignore[no-untyped-call]
    schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return api_docs.groups(schema)


@login_not_required
@require_safe
def docs(request: HttpRequest) -> HttpResponse:
    """Every endpoint on one page, made from the same description that programs read."""
    context = {
        "groups": _groups(),
        "site": request.build_absolute_uri("/").rstrip("/"),
        "title": "REST API",
        "subtitle": "Everything in the browser is possible here.",
    }
    return render(request, "api_docs.html", context)


@csrf_exempt
@login_not_required
def unknown(request: HttpRequest, rest: str = "") -> JsonResponse:
    """Any other address under v1/, so that a slash forgotten in a POST is said and not lost."""
    hint = "" if request.path.endswith("/") else " Addresses end in a slash."
    return http.json_error(404, f"There is nothing at this address.{hint}", "not_found")


urlpatterns = [
    # A request tries one pattern after the other: first come those that programs ask all the time.
    path("v1/", include("training.api.urls")),
    path("v1/", include("projects.api.urls")),
    path("schema/", SpectacularAPIView.as_view(), name="schema"),
    path("docs/", docs, name="api_docs"),
    re_path(r"^v1/(?P<rest>.*)$", unknown, name="api_unknown"),
]
