"""What every REST endpoint shares: one shape of error, one of list, a JSON parser that refuses
what the database could not keep."""

import io
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.http import Http404
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.response import Response
from rest_framework.views import exception_handler, set_rollback

from distillhub.lib.errors import DomainError

DEEPEST = 32  # levels of nesting; deeper JSON makes Python's decoder recurse until it fails
MOST_BYTES = 10 << 20


class SafeJSONParser(JSONParser):
    """JSON of bounded size and depth, without NUL characters (PostgreSQL cannot store them)."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        body = stream.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise RequestDataTooBig
        self._refuse_depth(body)
        parsed = super().parse(io.BytesIO(body), media_type, parser_context or {})
        self._refuse_nul(parsed)
        return parsed

    @staticmethod
    def _refuse_depth(body: bytes) -> None:
        depth = 0
        in_string = escaped = False
        for byte in body:
            if in_string:
                if escaped:
                    escaped = False
                elif byte == 0x5C:
                    escaped = True
                elif byte == 0x22:
                    in_string = False
            elif byte == 0x22:
                in_string = True
            elif byte in b"[{":
                depth += 1
                if depth > DEEPEST:
                    raise exceptions.ParseError(f"JSON is nested deeper than {DEEPEST} levels.")
            elif byte in b"]}":
                depth -= 1

    @classmethod
    def _refuse_nul(cls, value: Any) -> None:
        if isinstance(value, str):
            if "\x00" in value:
                raise exceptions.ParseError("A text holds a NUL character.")
        elif isinstance(value, dict):
            for name, part in value.items():
                cls._refuse_nul(name)
                cls._refuse_nul(part)
        elif isinstance(value, list):
            for part in value:
                cls._refuse_nul(part)


class Cursor(CursorPagination):
    """`{"results", "next", "previous"}`, 100 at a time, `?limit=` up to 1000."""

    ordering = "-id"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000

    def get_paginated_response(self, data: Any) -> Response:
        return Response(
            {"results": data, "next": self.get_next_link(), "previous": self.get_previous_link()}
        )

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["results", "next", "previous"],
            "properties": {
                "results": {"type": "array", "items": schema},
                "next": link,
                "previous": link,
            },
        }


def answer_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Every expected failure as `{"detail", "code", "fields"}`; others stay a logged 500."""
    if isinstance(error, DomainError):
        set_rollback()
        response = _answer(error.status, error.detail, error.code, error.fields)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(error.retry_after)
        return response
    if isinstance(error, Http404):
        return _answer(404, "There is nothing at this address.", "not_found")
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        return _answer(413, "The body of the request is too large.", "too_large")
    response = exception_handler(error, context)
    if response is None:
        return None
    if isinstance(error, exceptions.ValidationError):
        fields = _fields(error.detail)
        detail = "; ".join(f"{name}: {sentences[0]}" for name, sentences in fields.items())
        response.data = {"detail": detail or "Invalid.", "code": "invalid", "fields": fields}
        return response
    assert isinstance(error, exceptions.APIException)
    code = error.get_codes()
    response.data = {
        "detail": str(error.detail),
        "code": code if isinstance(code, str) else "invalid",
        "fields": {},
    }
    return response


def _answer(
    status: int, detail: str, code: str, fields: dict[str, list[str]] | None = None
) -> Response:
    return Response({"detail": detail, "code": code, "fields": fields or {}}, status=status)


def _fields(detail: Any, prefix: str = "") -> dict[str, list[str]]:
    """DRF's nested details as flat dotted names: `losses.0.temperature`."""
    if isinstance(detail, dict):
        flat: dict[str, list[str]] = {}
        for name, part in detail.items():
            flat |= _fields(part, f"{prefix}.{name}" if prefix else str(name))
        return flat
    if isinstance(detail, list) and any(isinstance(part, dict | list) for part in detail):
        flat = {}
        for index, part in enumerate(detail):
            flat |= _fields(part, f"{prefix}.{index}" if prefix else str(index))
        return flat
    sentences = detail if isinstance(detail, list) else [detail]
    return {prefix or "non_field_errors": [str(sentence) for sentence in sentences]}
