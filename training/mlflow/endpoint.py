"""How a request becomes a call: who asks, for which project, and in which shape faults are told.

Credentials come with every request, as a bearer token or as the password of a user name; there are
no cookies, and so no forgery to guard against.
"""

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import IO, Any, ClassVar

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from rest_framework.exceptions import (
    AuthenticationFailed,
    MethodNotAllowed,
    NotAuthenticated,
    ParseError,
)
from rest_framework.parsers import BaseParser
from rest_framework.request import Request

from distillhub.lib import mlflow_faults, rest
from distillhub.lib.rest import SafeJSONParser
from projects.api.authentication import TokenAuthentication
from projects.api.base import ProjectMixin, person
from training.mlflow.calls import Call

Handler = Callable[[Call], Any]


class Credentials(TokenAuthentication):
    """`Bearer <token>`, or Basic with the token as its password, whatever the user name."""

    def sent(self, request: Request) -> str | None:
        scheme, _, encoded = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return super().sent(request)
        try:
            told = base64.b64decode(encoded.strip(), validate=True).decode()
        except (binascii.Error, ValueError):
            raise AuthenticationFailed("This is no user name and password.") from None
        name, _, password = told.partition(":")
        return password or name


class AnyJSON(SafeJSONParser):
    """JSON, whatever its header calls it."""

    media_type = "*/*"


class Bytes(BaseParser):
    """The body as it stands, whatever it is, or whether anything is said of it."""

    media_type = "*/*"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        return stream


class Endpoint(ProjectMixin):
    """One address; `handlers` says what is done by method."""

    schema = None  # MLflow describes it, not our OpenAPI
    authentication_classes = (Credentials,)
    parser_classes: tuple[type[BaseParser], ...] = (AnyJSON,)
    handlers: ClassVar[Mapping[str, Handler]] = {}
    only_reads = False

    def handle(self, request: Request, project_slug: str, **path: str) -> HttpResponseBase:
        method = "GET" if request.method == "HEAD" else request.method or ""
        handler = self.handlers.get(method)
        if handler is None:
            raise MethodNotAllowed(request.method or "")
        answer = handler(
            Call(
                project=self.project(),
                by=person(request),
                asked=self._asked(request),
                path=path,
                stream=self._stream(request),
            )
        )
        if isinstance(answer, HttpResponseBase):
            return answer
        return written(answer or {})

    get = post = put = patch = delete = handle

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """JSON, whatever is accepted."""
        del force
        renderer = self.get_renderers()[0]
        return renderer, renderer.media_type

    def _asked(self, request: Request) -> Mapping[str, Any]:
        query = {
            name: values[0] if len(values) == 1 else values
            for name, values in request.query_params.lists()
        }
        if request.method == "GET" or Bytes in self.parser_classes:
            return query
        body = request.data
        if not isinstance(body, Mapping):
            raise ParseError("The body must be a JSON object.")
        return {**query, **body}

    def _stream(self, request: Request) -> IO[bytes]:
        return request._request  # type: ignore[return-value]

    def handle_exception(self, exc: Exception) -> HttpResponseBase:  # type: ignore[override]
        if isinstance(exc, NotAuthenticated | AuthenticationFailed):
            exc.auth_header = self.get_authenticate_header(self.request)  # type: ignore[union-attr]
        answer = rest.answer_exception(exc, {})
        if answer is None:
            raise exc
        fault = mlflow_faults.told(answer.status_code, answer.data["detail"], answer.data["code"])
        for name in ("WWW-Authenticate", "Retry-After"):
            if name in answer.headers:
                fault.headers[name] = answer.headers[name]
        return fault


def written(answer: Any) -> HttpResponse:
    body = json.dumps(answer, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return HttpResponse(body.encode(), content_type="application/json")


def unknown(request: HttpRequest, **path: str) -> HttpResponse:
    """Any other address."""
    return mlflow_faults.nowhere(request.method or "", request.path)
