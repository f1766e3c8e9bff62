"""The inbox: calls that applications send, what they are found by, and what becomes of them."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from openai import OpenAI
from rest_framework.test import APIClient

from projects import jobs
from projects.models import DatasetVersion, Project, StoredCompletion, User
from projects.services import accounts
from tests.conftest import api_of, signed_in

BASE = "/api/v1/projects/intents/completions/"


def call(number: int, **more: Any) -> dict[str, Any]:
    """As an application sends it."""
    label = ("refund", "card")[number % 2]
    return {
        "request": {
            "model": "big-model",
            "messages": [
                {"role": "system", "content": "Say the intent."},
                {"role": "user", "content": f"Question number {number} about my {label}"},
            ],
            "temperature": 0,
        },
        "response": {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": 1_790_000_000 + number,
            "model": "big-model-2026",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": "stop",
                    "message": {"role": "assistant", "content": label},
                }
            ],
            "usage": {"prompt_tokens": 12, "completion_tokens": 2, "total_tokens": 14},
        },
    } | more


def send(client: APIClient, *calls: dict[str, Any]) -> Any:
    return client.post(BASE, {"completions": list(calls)}, format="json")


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    client = api_of(erin)
    made = send(
        client,
        *(call(n, metadata={"app": ("chat", "mail")[n % 2]}, tags=["prod"]) for n in range(30)),
    )
    assert made.status_code == 201, made.json()
    assert (made.json()["received"], made.json()["repeated"]) == (30, 0)
    return client


def test_a_call_that_comes_again_changes_nothing(client: APIClient) -> None:
    again = send(client, call(1), call(30), call(30))
    assert (again.json()["received"], again.json()["repeated"]) == (1, 2)
    assert StoredCompletion.objects.count() == 31
    one = client.post(BASE, call(1), format="json")
    assert one.json() == {"ids": ["chatcmpl-1"], "received": 0, "repeated": 1}
    other = call(1)
    other["response"]["choices"][0]["message"]["content"] = "something else"
    refused = send(client, call(50), other)
    assert (refused.status_code, refused.json()["code"]) == (409, "completion_differs")
    assert StoredCompletion.objects.count() == 31


def test_a_call_without_an_id_is_known_by_its_content(client: APIClient) -> None:
    nameless = call(99)
    del nameless["response"]["id"]
    first = client.post(BASE, nameless, format="json").json()
    assert client.post(BASE, nameless, format="json").json()["ids"] == first["ids"]
    assert len(first["ids"][0]) == 64


@pytest.mark.parametrize(
    ("query", "many"),
    [
        ("q=about my CARD", 15),
        ("q=Question number 7", 1),
        ("model=big-model-2026", 30),
        ("model=other", 0),
        ("tag=prod", 30),
        ("tag=pro", 0),
        ("metadata[app]=mail", 15),
        ("metadata[app]=mail&q=number 1", 6),
        ("finish_reason=length", 0),
        ("since=2026-09-21T14:13:30Z", 20),
        ("until=2026-09-21T14:13:30Z", 10),
    ],
)
def test_calls_are_found(client: APIClient, query: str, many: int) -> None:
    answer = client.get(f"{BASE}?{query}")
    assert answer.status_code == 200, answer.json()
    assert len(answer.json()["results"]) == many, query


def test_a_call_is_shown_whole_and_deleted(client: APIClient) -> None:
    one = client.get(f"{BASE}chatcmpl-3/").json()
    assert one["request"]["messages"][1]["content"] == one["asked"]
    assert (one["answered"], one["input_tokens"], one["output_tokens"]) == ("card", 12, 2)
    assert one["called_at"].startswith("2026-09-21T")
    assert client.delete(f"{BASE}chatcmpl-3/").status_code == 204
    assert client.get(f"{BASE}chatcmpl-3/").status_code == 404
    assert client.delete(BASE).status_code == 400
    assert client.delete(f"{BASE}?metadata[app]=mail").json() == {"deleted": 14}
    assert StoredCompletion.objects.count() == 15


@pytest.mark.parametrize(
    ("task", "labels"), [("text-classification", ["card", "refund"]), ("text-generation", [])]
)
def test_calls_become_a_dataset(client: APIClient, task: str, labels: list[str]) -> None:
    body = {"name": "asked", "task": task, "metadata": {"app": "chat"}}
    made = client.post(f"{BASE}promote/", body | {"metadata": {}}, format="json")
    assert made.status_code == 201, made.json()
    jobs.ingest_dataset_version(version_id=DatasetVersion.objects.get().pk)
    version = DatasetVersion.objects.get()
    assert version.status == "ready", version.error
    assert (version.rows, version.labels) == (30, labels)
    assert {one["name"] for one in version.columns} >= {"text", "completion", "metadata.app"}
    more = client.post(f"{BASE}promote/", body, format="json")
    assert (more.status_code, more.json()["version"]) == (201, 2)
    nothing = client.post(f"{BASE}promote/", body | {"q": "nobody said this"}, format="json")
    assert nothing.status_code == 400


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"request": {"model": "x"}}, "request"),
        ({"response": {"id": "x"}}, "response"),
        ({"response": []}, "response"),
        ({"request": None}, "request"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata"),
        ({"tags": ["two words"]}, "tags"),
        ({"id": "x" * 201}, "id"),
        ({"latency_ms": -1}, "latency_ms"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"request": {"messages": ["x" * (1 << 20)]}}, "request"),
    ],
)
def test_what_is_no_call_is_refused_by_name(
    project: Project, erin: User, change: dict[str, Any], field: str
) -> None:
    answer = api_of(erin).post(BASE, call(1) | change, format="json")
    assert answer.status_code == 400
    assert any(name.startswith(field) for name in answer.json()["fields"]), answer.json()
    assert not StoredCompletion.objects.exists()


def test_odd_contents_are_kept_as_they_are(client: APIClient) -> None:
    odd = call(200)
    odd["request"]["messages"] = [
        {"role": "user", "content": [{"type": "text", "text": "look"}, {"type": "image_url"}]},
        "no message",
        {"role": 7},
    ]
    odd["response"]["choices"] = [{"message": {"content": None, "tool_calls": [{"id": "1"}]}}]
    odd["response"]["usage"] = {"prompt_tokens": "many"}
    assert client.post(BASE, odd, format="json").status_code == 201
    kept = client.get(f"{BASE}chatcmpl-200/").json()
    assert (kept["request"], kept["response"]) == (odd["request"], odd["response"])
    assert kept["answered"] == '[{"id": "1"}]'


def test_viewers_read_and_strangers_see_nothing(
    client: APIClient, vera: User, charlie: User
) -> None:
    assert len(api_of(vera).get(BASE).json()["results"]) == 30
    assert send(api_of(vera), call(1)).status_code == 403
    assert api_of(charlie).get(BASE).status_code == 404


@pytest.fixture
def one_connection(client: APIClient) -> Iterator[None]:
    """As Django's own test client does it (and undoes it after each request, hence `client`): a
    request's end closes no connection of the test."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.mark.usefixtures("one_connection")
def test_openais_own_client_reads_what_was_stored(client: APIClient, erin: User) -> None:
    own = OpenAI(
        base_url="http://testserver/api/v1/projects/intents/openai/v1",
        api_key=accounts.create_token(user=erin, name="application")[1],
        max_retries=0,
        http_client=httpx2.Client(transport=httpx2.WSGITransport(WSGIHandler())),
    )
    found = list(own.chat.completions.list(metadata={"app": "mail"}, limit=4))
    assert [one.id for one in found] == [f"chatcmpl-{n}" for n in range(1, 30, 2)]
    one = own.chat.completions.retrieve("chatcmpl-5")
    assert one.choices[0].message.content == "card"
    said = list(own.chat.completions.messages.list("chatcmpl-5"))
    assert [message.role for message in said] == ["system", "user"]
    own.chat.completions.update("chatcmpl-5", metadata={"app": "other"})
    assert StoredCompletion.objects.get(key="chatcmpl-5").metadata == {"app": "other"}
    assert own.chat.completions.delete("chatcmpl-5").deleted
    assert not StoredCompletion.objects.filter(key="chatcmpl-5").exists()


def test_pages_show_find_and_promote_calls(client: APIClient, erin: User, vera: User) -> None:
    browser = signed_in(erin)
    page = browser.get("/p/intents/inbox/?q=number 7")
    assert "Question number 7 about my card" in page.content.decode()
    assert "Question number 8" not in page.content.decode()
    one = browser.get("/p/intents/inbox/chatcmpl-7/").content.decode()
    assert "Say the intent." in one
    made = browser.post(
        "/p/intents/inbox/promote/", {"name": "asked", "q": "card", "task": "text-classification"}
    )
    assert made.headers["Location"] == "/p/intents/datasets/asked/1/"
    nothing = browser.post("/p/intents/inbox/promote/", {"name": "more", "q": "nobody said this"})
    assert nothing.headers["Location"] == "/p/intents/inbox/"
    assert "Make a dataset" not in signed_in(vera).get("/p/intents/inbox/").content.decode()


def test_an_empty_inbox_says_how_to_fill_it(project: Project, erin: User) -> None:
    page = signed_in(erin).get("/p/intents/inbox/").content.decode()
    assert "http://testserver/api/v1/projects/intents/completions/" in page


def test_a_list_costs_the_same_however_long_it_is(
    client: APIClient, erin: User, django_assert_max_num_queries: Any
) -> None:
    browser = signed_in(erin)
    with django_assert_max_num_queries(12):
        browser.get("/p/intents/inbox/")
    with django_assert_max_num_queries(6):
        client.get(BASE)
    with django_assert_max_num_queries(10):
        send(client, *(call(n) for n in range(100, 400)))
