"""How the OpenAPI description is grouped, and the one shape of error in it."""

import inspect
import json
from pathlib import Path
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import inline_serializer
from rest_framework import serializers

ERROR = {
    "type": "object",
    "required": ["detail", "code", "fields"],
    "properties": {
        "detail": {"type": "string", "description": "A sentence a person can act on."},
        "code": {"type": "string", "description": "A word a program can rely on."},
        "fields": {
            "type": "object",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
            "description": "What is wrong, by the name of the field.",
        },
    },
}


FIELDS = {
    "name": "fields",
    "in": "query",
    "schema": {"type": "string"},
    "description": "Only these, separated by commas; `a.b` is a part of a part. Of a list: of each "
    "of its results.",
}
EXAMPLES = Path(__file__).resolve().parent.parent / "api_examples.json"
UNCHANGED = {"description": "It is what the ETag in your `If-None-Match` stands for."}


class ByNoun(AutoSchema):
    """Groups endpoints by the noun they are about: `projects/{slug}/runs/{n}/logs/` is of runs."""

    def get_tags(self) -> list[str]:
        nouns = [part for part in self.path.split("/") if part and not part.startswith("{")]
        below = nouns[2:]  # after api/v1
        if not below:
            return ["other"]
        return [below[1] if below[0] == "projects" and len(below) > 1 else below[0]]

    def get_description(self) -> str:  # type: ignore[override]
        """Of the handler only: the class's docstring is for those who read the code."""
        return inspect.getdoc(getattr(self.view, self.method.lower(), None)) or ""


def whole_list(shape: Any) -> Any:
    """Of a list that is never so long that it has pages."""
    link = serializers.CharField(allow_null=True, help_text="Always null: this is all.")
    name = f"{shape.__name__.removesuffix('Serializer').removesuffix('Shape')}WholeList"
    return inline_serializer(name, {"results": shape(many=True), "next": link, "previous": link})


def plain_anything(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Anything, or null, is anything: said as `oneOf` null would be both, and so be refused."""
    _plain(result)
    return result


def _plain(part: Any) -> None:
    if isinstance(part, dict):
        for name in ("oneOf", "anyOf"):
            if {} in part.get(name, ()):
                del part[name]
        for below in part.values():
            _plain(below)
    elif isinstance(part, list):
        for below in part:
            _plain(below)


def sparse(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Whatever is read in JSON can be read in part, and only when it has changed."""
    result["components"].setdefault("parameters", {})["fields"] = FIELDS
    for operations in result["paths"].values():
        operation = operations.get("get")
        if operation and "application/json" in _content(operation):
            operation.setdefault("parameters", []).append(
                {"$ref": "#/components/parameters/fields"}
            )
            operation["responses"].setdefault("304", UNCHANGED)
    return result


def examples(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Bodies that are sent as they stand by tests/site/test_api_examples.py."""
    known = json.loads(EXAMPLES.read_text())
    for operations in result["paths"].values():
        for operation in operations.values():
            body = known.get(operation["operationId"])
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if body is not None and content is not None:
                content["examples"] = {"example": {"value": body}}
    return result


def _content(operation: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = operation["responses"].get("200", {}).get("content", {})
    return content


def describe_errors(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Every operation answers failures in one shape, said once instead of at each view."""
    result["components"].setdefault("schemas", {})["Error"] = ERROR
    answer = {
        "description": "Refused: the sentence says why.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    unknown = {**answer, "description": "A parameter that is not known here, or a body likewise."}
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"].setdefault("400", unknown)
            operation["responses"].setdefault("default", answer)
    return result
