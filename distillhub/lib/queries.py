"""Which parameters an address of REST may be asked with: those that OpenAPI describes there, and no
others. A misspelt filter that is passed over would answer with everything."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from django.urls import path
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from distillhub.lib.errors import Invalid

Known = Mapping[str, frozenset[str]]


class ParametersAreKnown(BasePermission):
    """Raises Invalid for a parameter that the address does not know, whatever the method. What
    OpenAPI does not describe (`schema = None`) looks after its own."""

    def has_permission(self, request: Request, view: Any) -> bool:
        match = request._request.resolver_match
        # A browser asks with OPTIONS, and the parameters of what it means to ask, before it does.
        asks_first = request._request.method == "OPTIONS"
        if not request.query_params or asks_first or match is None:
            return True
        if view.schema is None or not hasattr(view, str(request.method).lower()):
            return True
        method = "get" if request.method == "HEAD" else str(request.method).lower()
        known = described(match.route, match.func).get(method, frozenset())
        unknown = sorted(name for name in request.query_params if _plain(name) not in known)
        if unknown:
            there = f"there are {', '.join(sorted(known))}" if known else "there are none here"
            fields = {name: [f"There is no such parameter; {there}."] for name in unknown}
            raise Invalid(f"{unknown[0][:100]}: {fields[unknown[0]][0]}", fields=fields)
        return True


def _plain(name: str) -> str:
    """`metadata[…]` of `metadata[language]`: an object's parts are parameters of their own."""
    whole, bracket, rest = name.partition("[")
    return f"{whole}[…]" if bracket and rest.endswith("]") else name


@cache  # it changes with the code only, and costs some milliseconds
def described(route: str, view: Callable[..., Any]) -> Known:
    """The names of an address's parameters by method, in lower case."""
    from drf_spectacular.generators import SchemaGenerator  # noqa: PLC0415 - views import this

    generator = SchemaGenerator(patterns=[path(route, view)])  # type: ignore[no-untyped-call]
    schema = generator.get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return names(schema, next(iter(schema["paths"].values()), {}))


def names(schema: Mapping[str, Any], operations: Mapping[str, Any]) -> Known:
    """The same of the operations at one address of a description."""
    shared = schema["components"].get("parameters", {})
    found = {}
    for method, operation in operations.items():
        told = [
            shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one
            for one in operation.get("parameters", ())
        ]
        found[method] = frozenset(
            f"{one['name']}[…]" if one.get("style") == "deepObject" else one["name"]
            for one in told
            if one["in"] == "query"
        )
    return found
