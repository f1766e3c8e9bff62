"""Parameters of addresses: every address of REST refuses what it does not know, by name, before it
looks at anything else; what it knows is what OpenAPI describes."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.urls import ResolverMatch, URLResolver, get_resolver, resolve
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from distillhub.lib import queries
from projects.models import Project, User
from tests.conftest import api_of
from tests.site.permission_table import REST
from tests.site.world import METHODS

#: Of whatever kind: nothing of it needs to be there.
ANY = {"str": "a", "slug": "a", "path": "a", "int": "1", "uuid": str(UUID(int=0))}


def addresses(patterns: list[Any], before: str = "") -> Iterator[tuple[str, ResolverMatch]]:
    for pattern in patterns:
        route = before + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, route)
        elif pattern.name in REST:
            address = "/" + re.sub(r"<(\w+):\w+>", lambda part: ANY[part[1]], route)
            yield address, resolve(address)


@pytest.fixture(scope="module")
def rest() -> list[tuple[str, ResolverMatch]]:
    return list(addresses(get_resolver().url_patterns))


def test_every_address_refuses_what_it_does_not_know_whatever_the_method(
    rest: list[tuple[str, ResolverMatch]], alice: User
) -> None:
    client, passed, asked = api_of(alice), [], 0
    for address, match in rest:
        view: Any = match.func
        for method in METHODS:
            if not hasattr(view.view_class, method.lower()):
                continue
            asked += 1
            answer = client.generic(method, f"{address}?no_such_parameter=1")
            if answer.status_code != 400 or list(answer.json()["fields"]) != ["no_such_parameter"]:
                passed.append(f"{method} {address}: {answer.status_code}")
    assert asked > 300
    assert not passed, "\n".join(passed)


def test_what_an_address_knows_is_what_the_description_tells_of_it(
    rest: list[tuple[str, ResolverMatch]],
) -> None:
    whole = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    for address, match in rest:
        path = "/" + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", match.route).replace("{pk}", "{id}")
        told = queries.names(whole, whole["paths"][path])
        assert queries.described(match.route, match.func) == told, address


def test_a_misspelt_filter_is_refused_with_the_names_that_there_are(
    project: Project, alice: User
) -> None:
    client = api_of(alice)
    answer = client.get("/api/v1/projects/?archive=true&limit=5&fields=slug")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert answer.json()["fields"] == {
        "archive": ["There is no such parameter; there are archived, cursor, fields, limit."]
    }
    renamed = client.patch("/api/v1/projects/intents/?force=1", {"name": "Other"})
    assert renamed.json()["detail"] == ("force: There is no such parameter; there are none here.")
    project.refresh_from_db()
    assert project.name != "Other"
    assert client.get("/api/v1/projects/?archived=true&limit=5&fields=slug").status_code == 200


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("metadata[language]=en", 200),
        ("metadata[language]=en&limit=3&fields=id", 200),
        ("metadata=en", 400),
        ("model[name]=en", 400),
        ("metadata[", 400),
    ],
)
def test_parts_of_an_object_are_known_where_it_is_one(
    asked: str, status: int, project: Project, alice: User
) -> None:
    answer = api_of(alice).get(f"/api/v1/projects/intents/completions/?{asked}")
    assert answer.status_code == status, answer.json()


def test_a_browser_that_asks_first_with_options_is_answered(project: Project, alice: User) -> None:
    asked = api_of(alice).options("/api/v1/projects/?archive=true")
    assert asked.status_code == 200, asked.content


def test_who_is_nobody_learns_no_names_of_parameters(project: Project) -> None:
    assert APIClient().get("/api/v1/projects/?archive=true").status_code == 401
