"""The OpenAPI description: complete, valid, without a warning; and the page made from it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from openapi_spec_validator import validate

from distillhub.lib import api_docs

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def schema(client: Client, db: None) -> dict[str, Any]:
    answer = client.get("/api/schema/", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    return dict(answer.json())


def test_it_is_made_without_a_warning(tmp_path: Path) -> None:
    made = subprocess.run(
        [sys.executable, "manage.py", "spectacular", "--validate", "--fail-on-warn"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin", "DISTILLHUB_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr


def test_it_is_valid_openapi(schema: dict[str, Any]) -> None:
    assert schema["openapi"].startswith("3.1")
    validate(schema)


def test_every_rest_address_is_in_it(schema: dict[str, Any]) -> None:
    def names(patterns: list[Any]) -> set[str]:
        found: set[str] = set()
        for pattern in patterns:
            if isinstance(pattern, URLResolver):
                found |= names(pattern.url_patterns)
            elif isinstance(pattern, URLPattern) and (pattern.name or "").startswith("api_"):
                found.add(pattern.name or "")
        return found

    rest = names(get_resolver().url_patterns) - {"api_docs", "api_unknown"}
    assert len(schema["paths"]) == len(rest)


def test_every_operation_says_what_it_is_and_how_it_fails(schema: dict[str, Any]) -> None:
    silent = []
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert "default" in operation["responses"], path
            if not operation.get("summary"):
                silent.append(f"{method} {path}")
    assert not silent


def test_the_page_shows_every_operation(client: Client, schema: dict[str, Any]) -> None:
    page = client.get("/api/docs/").content.decode()
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert f'id="{operation["operationId"]}"' in page
    assert "<script>" not in page


def test_nested_lists_and_choices_are_written_out() -> None:
    run = {
        "type": "object",
        "required": ["losses"],
        "properties": {
            "losses": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "kind": {"enum": ["soft_targets"], "type": "string"},
                        "weight": {"type": ["number", "null"], "description": "Its share."},
                    },
                },
            }
        },
    }
    operation = {
        "operationId": "runs_create",
        "tags": ["runs"],
        "requestBody": {
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Run"}}}
        },
        "responses": {"204": {"description": ""}},
    }
    made = {"paths": {"/runs/": {"post": operation}}, "components": {"schemas": {"Run": run}}}
    [group] = api_docs.groups(made)
    [endpoint] = group.endpoints
    assert [(f.name, f.type, f.required) for f in endpoint.body] == [
        ("losses", "list of object", True),
        ("losses[].kind", "string", False),
        ("losses[].weight", "number or null", False),
    ]
    assert endpoint.body[1].choices == ["soft_targets"]
    assert endpoint.example == '{"losses": [{"kind": "soft_targets"}]}'
