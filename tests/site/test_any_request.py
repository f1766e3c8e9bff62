"""Every operation of REST, asked at random: no failure of ours, and no answer that the OpenAPI
description does not tell of (schemathesis; seeded, so that a fault comes back)."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core import signals
from django.core.handlers.wsgi import WSGIHandler
from django.db import close_old_connections, transaction
from django.test import Client
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import checks

from projects.models import User
from projects.services import accounts
from tests.site.world import World, world

__all__ = ["world"]  # a fixture

#: Of each operation; more of them find more: ANY_REQUESTS=50 pytest tests/site/test_any_request.py
EXAMPLES = int(os.environ.get("ANY_REQUESTS", "1"))
checks.load_all_checks()
CHECKS = [
    checks.CHECKS.get_one(name)
    for name in (
        *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
        *("response_schema_conformance", "response_headers_conformance"),
    )
]


@schemathesis.serializer("application/offset+octet-stream")
def as_it_is(context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else str(value).encode()


@pytest.fixture
def schema(client: Client, db: None) -> Iterator[Any]:
    told = client.get("/api/schema/", headers={"Accept": "application/json"}).json()
    found = schemathesis.openapi.from_dict(told)
    found.app = WSGIHandler()
    for signal in (signals.request_started, signals.request_finished):
        signal.disconnect(close_old_connections)  # ours is within the test's transaction
    yield found
    for signal in (signals.request_started, signals.request_finished):
        signal.connect(close_old_connections)


def ask(operation: Any, known: dict[str, Any], token: str) -> int:
    """How often it was asked. Raises what was found, in a group."""
    asked = 0

    @seed(1)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def once(case: Any) -> None:
        nonlocal asked
        asked += 1
        case.path_parameters.update(known)
        case.query.pop("fields", None)  # with it an answer is a part of what is described
        with transaction.atomic():
            answer = case.call(headers={"Authorization": f"Bearer {token}"})
            transaction.set_rollback(True)
        if answer.status_code == 503 and b"sealed_elsewhere" in answer.content:
            return  # what the world has for a sealed key is none
        case.validate_response(answer, checks=CHECKS)

    once()
    return asked


# Files that the client was sent are closed when they are collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_whatever_is_asked_is_answered_as_described(
    schema: Any,
    world: World,
    alice: User,
) -> None:
    _, token = accounts.create_token(user=alice, name="anything")
    values = {**world.values, "id": world.values["pk"]}
    faults: dict[str, str] = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        names = {part.name for part in operation.path_parameters} & values.keys()
        try:
            assert ask(operation, {name: values[name] for name in names}, token)
        except BaseException as fault:  # a group of all that was found
            faults[operation.label] = str(fault)
    assert not faults, "\n\n".join(f"{label}: {said}" for label, said in faults.items())
