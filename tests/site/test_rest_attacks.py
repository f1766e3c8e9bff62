"""Bodies and addresses made to break the REST API: refused in the one shape, without a stack trace,
a path, SQL or a secret, and quickly."""

import json
import time
from typing import Any

import pytest
from django.conf import LazySettings, settings
from django.db import OperationalError
from django.test import Client

from projects.models import Membership, Project, User
from tests.conftest import api_of, signed_in

PROJECTS = "/api/v1/projects/"
LEAKS = [
    "Traceback",
    str(settings.BASE_DIR),
    "/home/",
    "site-packages",
    "SELECT ",
    "django.",
    "sqlite",
    ".py",
]


def send(user: User, body: bytes, content_type: str = "application/json") -> Any:
    return api_of(user).generic("POST", PROJECTS, body, content_type=content_type)  # type: ignore[arg-type]


def assert_refused(answer: Any, *statuses: int) -> None:
    assert answer.status_code in statuses, answer.content[:300]
    assert set(answer.json()) == {"detail", "code", "fields"}
    assert answer.json()["detail"]
    assert answer.json()["code"]
    for leak in LEAKS:
        assert leak not in answer.content.decode(), leak


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b"[" * 40 + b"]" * 40,
        b'{"name":' * 50_000,
        b'{"name": "a", "description": ' + b'{"a":' * 33 + b"1" + b"}" * 34,
        b'{"name": "a\\u0000b"}',
        b'{"name": "\\ud800"}',
        b'{"na\\u0000me": "a"}',
        b'{"name": NaN}',
        b'{"name": 1e999}',
        b'{"name": ' + b"9" * 5000 + b"}",
        b'{"name": ' + b"9" * 400 + b"}",  # Python reads it, and no float holds it
        b'{"name": "a"',
        b"\xff\xfe{}",
        b'"name"',
        b"[]",
        b"null",
        b"5",
        b'{"name": {"a": 1}}',
        b'{"name": null}',
        b'{"name": true, "description": 5.5}',
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_broken_body_is_400(alice: User, body: bytes) -> None:
    began = time.process_time()
    answer = send(alice, body)
    if answer.status_code == 201:  # DRF reads a boolean or number as its text
        assert body.startswith(b'{"name": true')
        return
    assert_refused(answer, 400)
    assert time.process_time() - began < 2


def test_brackets_inside_text_are_only_text(alice: User) -> None:
    body = json.dumps({"name": "a", "description": '["' * 500}).encode()
    assert send(alice, body).status_code == 201


def test_another_charset_does_not_slip_past_the_checks(alice: User) -> None:
    body = '{"name": "a\\u0000"}'.encode("utf-16")
    assert_refused(send(alice, body, "application/json; charset=utf-16"), 400)


def test_millions_of_brackets_are_refused_before_they_are_read(alice: User) -> None:
    answer = send(alice, b"[" + b"[]," * 3_000_000 + b"[]]")
    assert_refused(answer, 400)
    assert "more than 500,000 lists and objects" in answer.data["detail"]


def test_a_body_that_is_too_large_is_413(alice: User) -> None:
    assert_refused(send(alice, b'{"name": "' + b"a" * (11 << 20) + b'"}'), 413)


@pytest.mark.parametrize(
    "content_type", ["text/xml", "application/x-www-form-urlencoded", "multipart/form-data", "x"]
)
def test_another_content_type_is_415(alice: User, content_type: str) -> None:
    assert_refused(send(alice, b"name=a", content_type), 415, 400)


def test_an_unknown_method_is_405(alice: User) -> None:
    for method in ("DELETE", "PUT", "TRACE", "BREW"):
        assert_refused(api_of(alice).generic(method, PROJECTS), 405)


@pytest.mark.parametrize(
    "address",
    [
        "/api/v1/projects/%00/",
        "/api/v1/projects/?archived=%00",
        "/api/v1/projects/intents/members/%00/",
        "/api/v1/projects/..%2f..%2fetc/",
        "/api/v1/projects/%252e%252e/",
        "/api/v1/tokens/99999999999999999999999999/",
        "/api/v1/projects/intents/runs/99999999999999999999999999/",
        "/api/v1/projects/intents/members/%ff%fe/",
        "/api/v1/projects/?cursor=nonsense",
        "/api/v1/projects/?cursor=%ff",
        "/api/v1/projects//",
    ],
)
def test_a_strange_address_is_refused(alice: User, project: Project, address: str) -> None:
    assert_refused(api_of(alice).get(address), 400, 404, 405)


@pytest.mark.parametrize("limit", ["-1", "0", "abc", "999999999999999999999", "1e9", "'"])
def test_a_strange_limit_is_answered_with_a_list(alice: User, project: Project, limit: str) -> None:
    answer = api_of(alice).get(PROJECTS, {"limit": limit})
    assert answer.status_code in (200, 400)


def test_no_list_is_longer_than_a_thousand(alice: User, vera: User) -> None:
    Project.objects.bulk_create(
        Project(name=str(n), slug=f"p{n}", created_by=alice) for n in range(1001)
    )
    Membership.objects.bulk_create(
        Membership(project=project, user=alice, role="owner") for project in Project.objects.all()
    )
    answer = api_of(alice).get(PROJECTS, {"limit": 5000}).json()
    assert len(answer["results"]) == 1000
    assert answer["next"]


def test_nothing_reaches_the_query_that_is_no_filter(alice: User, project: Project) -> None:
    for query in ("created_by__password__startswith=a", "memberships__user=2", "order=password"):
        answer = api_of(alice).get(f"{PROJECTS}?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


@pytest.mark.parametrize("address", ["/api/v1/me/", "/account/"])
def test_a_failure_of_ours_tells_nothing_of_its_inside(
    alice: User, address: str, monkeypatch: pytest.MonkeyPatch, settings: LazySettings
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("secret canary in /home/somebody/distillhub.py: SELECT 1")

    monkeypatch.setattr("projects.api.me._described", broken)
    monkeypatch.setattr("projects.views.accounts.ProfileForm.__init__", broken)
    client = signed_in(alice)
    client.raise_request_exception = False
    answer = client.get(address)
    assert answer.status_code == 500
    assert "canary" not in answer.content.decode()
    assert "it has been logged" in answer.content.decode()


@pytest.mark.parametrize("address", ["/api/v1/me/", "/account/"])
def test_a_database_that_is_away_is_503_with_a_time_to_come_back(
    alice: User, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*args: object, **kwargs: object) -> None:
        raise OperationalError("connection to server at 10.0.0.7 failed")

    monkeypatch.setattr("projects.api.me._described", away)
    monkeypatch.setattr("projects.views.accounts.ProfileForm.__init__", away)
    client = signed_in(alice)
    client.raise_request_exception = False
    answer = client.get(address)
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "10.0.0.7" not in answer.content.decode()


def test_who_is_not_signed_in_gets_401_and_is_told_how(client: Client, db: None) -> None:
    answer = client.get("/api/v1/projects/")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.json()["code"] == "not_authenticated"


def test_no_origin_is_let_in_by_cors(client: Client, db: None) -> None:
    answer = client.options(
        "/api/v1/projects/",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
