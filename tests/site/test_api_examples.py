"""The examples of the OpenAPI description: each is sent as it stands, and is taken."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from projects.models import User
from tests.conftest import api_of
from tests.site.world import World, world

__all__ = ["world"]  # a fixture

ROOT = Path(__file__).resolve().parent.parent.parent
EXAMPLES: dict[str, Any] = json.loads((ROOT / "distillhub" / "api_examples.json").read_text())
#: What the world of these tests is not ready for: understood, and refused for what is there.
NOT_READY = {409}


@pytest.fixture
def operations(client: Client, db: None) -> dict[str, tuple[str, str, dict[str, Any]]]:
    told = client.get("/api/schema/", headers={"Accept": "application/json"}).json()
    return {
        operation["operationId"]: (method, path, operation)
        for path, methods in told["paths"].items()
        for method, operation in methods.items()
    }


def test_every_example_is_taken(
    operations: dict[str, tuple[str, str, dict[str, Any]]],
    world: World,
    alice: User,
) -> None:
    assert not EXAMPLES.keys() - operations.keys()
    values = {**world.values, "id": world.values["pk"]}
    alice.is_superuser = True
    alice.save()
    client = api_of(alice)
    wrong = {}
    for name, body in EXAMPLES.items():
        method, path, told = operations[name]
        content = told["requestBody"]["content"]["application/json"]
        assert content["examples"]["example"]["value"] == body, name
        with transaction.atomic():
            answer = getattr(client, method)(path.format(**values), body, format="json")
            transaction.set_rollback(True)
        if answer.status_code >= 300 and answer.status_code not in NOT_READY:
            wrong[name] = f"{answer.status_code} {answer.content[:300]!r}"
    assert not wrong, "\n".join(f"{name}: {said}" for name, said in wrong.items())
