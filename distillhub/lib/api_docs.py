"""An OpenAPI description, made readable: endpoints by group, bodies as flat lists of fields."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

DEEPEST = 4  # levels of nested objects that are written out

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Field:
    name: str  # dotted when nested
    type: str
    required: bool
    description: str
    choices: list[str]


@dataclass(frozen=True, slots=True)
class Endpoint:
    id: str
    method: str
    path: str
    summary: str
    description: str
    parameters: list[Field]
    body: list[Field]
    body_type: str  # "JSON" or "multipart"
    answer_status: str
    answer: list[Field]
    example: str  # of the body, as JSON

    @property
    def path_parts(self) -> list[str]:
        """The path cut at its placeholders: `/projects/`, `{project_slug}`, `/`."""
        return [part for part in re.split(r"(\{[^}]*\})", self.path) if part]


@dataclass(slots=True)
class Group:
    name: str
    endpoints: list[Endpoint] = field(default_factory=list)


def groups(schema: Schema) -> list[Group]:
    """Endpoints by their first tag, in the order of their addresses."""
    found: dict[str, Group] = {}
    reader = _Reader(schema.get("components", {}).get("schemas", {}))
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            name = operation.get("tags", ["other"])[0]
            group = found.setdefault(name, Group(name))
            group.endpoints.append(reader.endpoint(method, path, operation))
    return list(found.values())


class _Reader:
    def __init__(self, components: dict[str, Schema]) -> None:
        self.components = components

    def endpoint(self, method: str, path: str, operation: Schema) -> Endpoint:
        body, body_type = self._body(operation.get("requestBody", {}).get("content", {}))
        status, answer = self._answer(operation["responses"])
        return Endpoint(
            id=operation["operationId"],
            method=method.upper(),
            path=path,
            summary=operation.get("summary", ""),
            description=operation.get("description", ""),
            parameters=[
                self._field(
                    part["name"],
                    {**part.get("schema", {}), "description": part.get("description", "")},
                    part.get("required", False),
                )
                for part in operation.get("parameters", [])
                if part.get("in", "path") != "path"  # what all have is told above them once
            ],
            body=list(self._fields(body)),
            body_type=body_type,
            answer_status=status,
            answer=list(self._fields(answer)),
            example=json.dumps(self._example(body)) if body_type == "JSON" else "",
        )

    def _body(self, content: dict[str, Schema]) -> tuple[Schema, str]:
        for media, word in (("multipart/form-data", "multipart"), ("application/json", "JSON")):
            if media in content:
                return content[media].get("schema", {}), word
        return {}, ""

    def _answer(self, responses: dict[str, Schema]) -> tuple[str, Schema]:
        for status, response in responses.items():
            if status.startswith("2"):
                for media in response.get("content", {}).values():
                    return status, media.get("schema", {})
                return status, {}
        return "", {}

    def _resolved(self, schema: Schema) -> Schema:
        """Follow references and look through the wrappings of nullable and read-only parts."""
        for _ in range(10):
            if "$ref" in schema:
                named = self.components.get(schema["$ref"].rsplit("/", 1)[-1], {})
                schema = {**named, **{k: v for k, v in schema.items() if k != "$ref"}}
                continue
            parts = schema.get("allOf") or schema.get("oneOf") or schema.get("anyOf") or []
            real = [part for part in parts if part.get("type") != "null"]
            if not real or "properties" in schema or "enum" in schema:
                break
            rest = {k: v for k, v in schema.items() if k not in {"allOf", "oneOf", "anyOf"}}
            schema = {**self._resolved(real[0]), **rest}
        return schema

    def _fields(self, schema: Schema, prefix: str = "", level: int = 0) -> Iterator[Field]:
        schema = self._resolved(schema)
        if schema.get("type") == "array":
            yield from self._fields(schema.get("items", {}), f"{prefix}[].", level)
            return
        required = schema.get("required", [])
        for name, part in schema.get("properties", {}).items():
            yield self._field(prefix + name, part, name in required)
            inner = self._resolved(part)
            if level < DEEPEST and inner.get("type") == "array":
                yield from self._fields(inner.get("items", {}), f"{prefix}{name}[].", level + 1)
            elif level < DEEPEST and "properties" in inner:
                yield from self._fields(inner, f"{prefix}{name}.", level + 1)

    def _field(self, name: str, schema: Schema, required: bool) -> Field:
        real = self._resolved(schema)
        return Field(
            name=name,
            type=self._type(real),
            required=required,
            description=_sentence(schema.get("description") or real.get("description", "")),
            choices=[str(choice) for choice in real.get("enum", []) if choice is not None],
        )

    def _type(self, schema: Schema) -> str:
        kinds = schema.get("type", "any")
        kinds = [kinds] if isinstance(kinds, str) else list(kinds)
        words = [schema.get("format", kind) if kind == "string" else kind for kind in kinds]
        if "array" in kinds:
            inner = self._type(self._resolved(schema.get("items", {})))
            words[kinds.index("array")] = f"list of {inner}"
        return " or ".join(words)

    def _example(self, schema: Schema, level: int = 0) -> Any:
        """The smallest body with the right shape: required fields, defaults, first choices."""
        schema = self._resolved(schema)
        for known in ("example", "default"):
            if known in schema:
                return schema[known]
        if "enum" in schema:
            return schema["enum"][0]
        kind = schema.get("type", "object")
        kind = kind if isinstance(kind, str) else kind[0]
        if kind == "object":
            wanted = schema.get("required", []) or list(schema.get("properties", {}))[:1]
            parts = schema.get("properties", {})
            return {n: self._example(parts[n], level + 1) for n in wanted if n in parts}
        if kind == "array":
            return [self._example(schema.get("items", {}), level + 1)] if level < DEEPEST else []
        return {"integer": 1, "number": 0.5, "boolean": True}.get(kind, "...")


def _sentence(text: str) -> str:
    """Without the list of choices that the generator appends; the page shows them apart."""
    return text.split("* `", 1)[0].strip()
