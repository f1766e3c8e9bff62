"""How the OpenAPI description is grouped, and the one shape of error in it."""

import inspect
from typing import Any

from drf_spectacular.openapi import AutoSchema

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


def describe_errors(result: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
    """Every operation answers failures in one shape, said once instead of at each view."""
    result["components"].setdefault("schemas", {})["Error"] = ERROR
    answer = {
        "description": "Refused: the sentence says why.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
    }
    for operations in result["paths"].values():
        for operation in operations.values():
            operation["responses"].setdefault("default", answer)
    return result
