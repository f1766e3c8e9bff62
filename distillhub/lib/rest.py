"""What every REST endpoint shares: one shape of error, one of list, a JSON parser that refuses
what the database could not keep."""

import json
import logging
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from django.core.exceptions import PermissionDenied, RequestDataTooBig, ValidationError
from django.db.models import QuerySet
from django.http import Http404
from rest_framework import exceptions
from rest_framework.pagination import BasePagination, CursorPagination
from rest_framework.parsers import JSONParser
from rest_framework.permissions import SAFE_METHODS
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import replace_query_param

from distillhub.lib import database
from distillhub.lib.errors import DomainError, Invalid, Unavailable

logger = logging.getLogger(__name__)

DEEPEST = 32  # levels of nesting; deeper JSON makes Python's decoder recurse until it fails
MOST_BYTES = 10 << 20
MOST_PARTS = 500_000  # lists and objects; millions of empty ones fit into 10 MB and cost seconds
MOST_FIELDS = 50  # that `?fields=` names
LONG_NUMBER = re.compile(rb"[0-9]{301}")  # no float holds more than 309 digits
TOO_DEEP = f"JSON is nested deeper than {DEEPEST} levels."


class SafeJSONParser(JSONParser):
    """JSON in UTF-8 of bounded size and depth, holding nothing the database could not keep."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        body = stream.read(MOST_BYTES + 1)
        if len(body) > MOST_BYTES:
            raise RequestDataTooBig
        try:
            parsed = loaded(body)
        except ValueError as fault:
            raise exceptions.ParseError(str(fault)) from None
        if request := (parser_context or {}).get("request"):
            request._request.asked_json = parsed  # for the audit log: a body is read once
        return parsed


def loaded(body: bytes) -> Any:
    """JSON of ours, by the same rules wherever it stands: also in a field of a form. Raises
    ValueError with a sentence."""
    if body.count(b"[") + body.count(b"{") > MOST_PARTS:
        raise ValueError(f"JSON holds more than {MOST_PARTS:,} lists and objects.")
    whole = _bounded if LONG_NUMBER.search(body) else None
    try:
        # Always UTF-8, whatever charset the header claims: the contract knows no other.
        parsed = json.loads(
            body.decode(), parse_constant=_refuse, parse_float=_finite, parse_int=whole
        )
    except ValueError as fault:  # JSONDecodeError and UnicodeDecodeError are ValueErrors
        raise ValueError(f"This is not valid JSON: {fault}.") from None
    except RecursionError:
        raise ValueError(TOO_DEEP) from None
    _refuse_depth(parsed)
    if b"\\u" in body:  # only an escape can smuggle in what follows
        _refuse_unstorable(parsed)
    return parsed


def _refuse_depth(parsed: Any) -> None:
    """Level by level, looking only into containers."""
    level = [parsed] if isinstance(parsed, dict | list) else []
    for _ in range(DEEPEST):
        level = [
            part
            for container in level
            for part in (container.values() if isinstance(container, dict) else container)
            if isinstance(part, dict | list)
        ]
        if not level:
            return
    raise ValueError(TOO_DEEP)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a number of JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number[:20]} is too large a number")
    return value


def _bounded(number: str) -> int:
    """One that every column and every measure can be compared with."""
    if LONG_NUMBER.search(number.encode()):
        raise ValueError(f"{number[:20]}… is too large a number")
    return int(number)


def _refuse_unstorable(value: Any) -> None:
    """NUL, which PostgreSQL cannot store, and half surrogates, which UTF-8 cannot express."""
    if isinstance(value, str):
        if "\x00" in value:
            raise ValueError("A text holds a NUL character.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise ValueError("A text holds half of a surrogate pair.") from None
    elif isinstance(value, dict):
        for name, part in value.items():
            _refuse_unstorable(name)
            _refuse_unstorable(part)
    elif isinstance(value, list):
        for part in value:
            _refuse_unstorable(part)


class SparseRenderer(JSONRenderer):
    """JSON, and of it what `?fields=name,progress.fraction` names; of a list, of each of its
    results. What an answer does not have is refused by name."""

    def render(
        self, data: Any, accepted_media_type: Any = None, renderer_context: Any = None
    ) -> bytes:
        context = renderer_context or {}
        request, response = context.get("request"), context.get("response")
        if request is None or response is None or response.status_code != 200:
            return bytes(super().render(data, accepted_media_type, renderer_context))
        asked = request.query_params.get("fields", "") if request.method in SAFE_METHODS else ""
        if asked and isinstance(data, dict):
            try:
                data = _sparse(data, asked)
            except Invalid as error:
                response.status_code = error.status
                data = {"detail": error.detail, "code": error.code, "fields": error.fields}
        return bytes(super().render(data, accepted_media_type, renderer_context))


def _sparse(data: dict[str, Any], asked: str) -> Any:
    names = [name.strip() for name in asked.split(",") if name.strip()]
    if len(names) > MOST_FIELDS:
        raise Invalid(f"At most {MOST_FIELDS} fields are named.", fields={"fields": ["Too many."]})
    rows = data.get("results") if {"results", "next", "previous"} <= data.keys() else None
    if not isinstance(rows, list):
        return _picked(data, names)
    known = {name for row in rows if isinstance(row, dict) for name in row}
    for name in names:
        if rows and name.partition(".")[0] not in known:
            raise _no_field(name, known)
    return data | {"results": [_picked(row, names, known) for row in rows]}


def _picked(row: Any, names: Sequence[str], known: Iterable[str] = ()) -> Any:
    """Of an object the named parts, of a list those of each; `a.b` is a part of a part."""
    if isinstance(row, list):
        return [_picked(one, names, known) for one in row]
    if not isinstance(row, dict):
        return row
    below: dict[str, list[str]] = {}
    for name in names:
        first, _, rest = name.partition(".")
        if first not in row and first not in known:
            raise _no_field(name, row)
        below.setdefault(first, []).append(rest)
    return {
        first: row[first] if "" in rests else _picked(row[first], rests)
        for first, rests in below.items()
        if first in row
    }


def _no_field(name: str, known: Iterable[str]) -> Invalid:
    there = ", ".join(sorted(map(str, known))[:40])
    sentence = f"There is no field {name[:100]!r}; there are {there}."
    return Invalid(sentence, fields={"fields": [sentence]})


def checked_query(request: Request, shape: Any) -> dict[str, Any]:
    """The parameters of an address, checked; lib/queries.py has refused those that are unknown."""
    query = shape(data=request.query_params)
    query.is_valid(raise_exception=True)
    return dict(query.validated_data)


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
                "results": schema,  # an array of what is listed
                "next": link,
                "previous": link,
            },
        }


class Sorted(Protocol):
    """Rows in an order, of which those that come first may be had without sorting all."""

    @property
    def columns(self) -> Sequence[str]: ...

    def whole(self) -> QuerySet[Any]: ...

    def few(
        self, count: int, *, is_descending: bool, beyond: str | None
    ) -> Iterator[QuerySet[Any]]:
        """More and more of the rows that come before all others, beyond a value of the first column
        where one is given; each may or may not hold `count` that are wanted."""


class LateCursor(Cursor):
    """Finds the ids of a page's rows, for the view to read whole: sorting thousands of rows carries
    nothing of what is in them."""

    def ids(self, found: Sorted, request: Request) -> list[int]:
        self.ordering = tuple(found.columns)  # type: ignore[assignment]
        columns = [name.removeprefix("-") for name in self.ordering]
        cursor: Any = self.decode_cursor(request)
        offset, is_back, position = cursor or (0, False, None)
        needed = offset + (self.get_page_size(request) or 0) + 1
        is_descending = self.ordering[0].startswith("-") != is_back
        try:
            if not is_back or position is not None:
                for rows in found.few(needed, is_descending=is_descending, beyond=position):
                    page = self.paginate_queryset(rows.values("pk", *columns), request)
                    if self.has_previous if is_back else self.has_next:  # it is full
                        return [row["pk"] for row in page or ()]
            page = self.paginate_queryset(found.whole().values("pk", *columns), request)
        except (ValueError, ValidationError):  # a position that is no value of its column
            raise exceptions.NotFound(self.invalid_cursor_message) from None
        return [row["pk"] for row in page or ()]


class Stretches(BasePagination):
    """The same for what is no table, but a sequence in an order of its own. Its cursors are places:
    what moves between two pages is shown twice, or not at all."""

    get_paginated_response_schema = Cursor.get_paginated_response_schema

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """`queryset` has a length and gives a `stretch(first, last)`."""
        asked = request.query_params
        self.limit = min(_whole(asked.get("limit")) or Cursor.page_size, Cursor.max_page_size)
        self.first = _whole(asked.get("cursor"))
        self.count, self.address = len(queryset), request.build_absolute_uri()
        found: list[Any] = queryset.stretch(self.first, self.first + self.limit)
        return found

    def get_paginated_response(self, data: Any) -> Response:
        after, before = self.first + self.limit, max(0, self.first - self.limit)
        more = after < self.count
        return Response(
            {
                "results": data,
                "next": self._address(after) if more else None,
                "previous": self._address(before) if self.first else None,
            }
        )

    def _address(self, first: int) -> str:
        return str(replace_query_param(self.address, "cursor", first))


def _whole(text: str | None) -> int:
    """A number that was typed; 0 for anything else."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 0


def answer_exception(error: Exception, context: dict[str, Any]) -> Response | None:
    """Every expected failure as `{"detail", "code", "fields"}`; others stay a logged 500."""
    if database.is_away(error):
        logger.error("the database did not answer", exc_info=error)
        error = Unavailable("The database does not answer just now; try again in a moment.")
    if isinstance(error, DomainError):
        answer = _answer(error.status, error.detail, error.code, error.fields)
        if error.retry_after is not None:
            answer.headers["Retry-After"] = str(error.retry_after)
        return answer
    if isinstance(error, Http404):
        return _answer(404, "There is nothing at this address.", "not_found")
    if isinstance(error, RequestDataTooBig):
        return _answer(413, "The body of the request is too large.", "too_large")
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    if isinstance(error, exceptions.ValidationError):
        fields = _fields(error.detail)
        detail = "; ".join(f"{name}: {sentences[0]}" for name, sentences in fields.items())
        return _answer(error.status_code, detail or "Invalid.", "invalid", fields)
    code = error.get_codes()
    answer = _answer(error.status_code, str(error.detail), code if isinstance(code, str) else "")
    if challenge := getattr(error, "auth_header", None):  # which credentials would have done
        answer.headers["WWW-Authenticate"] = challenge
    if wait := getattr(error, "wait", None):  # seconds until a limit is lifted
        answer.headers["Retry-After"] = str(math.ceil(wait))
    return answer


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
