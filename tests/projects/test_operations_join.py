"""Columns of one dataset beside the rows of another, found by their ids."""

import json
from typing import Any

import pytest
from django.urls import reverse
from rest_framework.test import APIClient

from projects.models import DatasetVersion, Project, User
from projects.operations.prompting import Template
from tests.conftest import api_of, signed_in
from tests.projects.test_operations import BASE, change, latest, rows
from tests.projects.test_operations_columns import role_of, upload_as

ASKED = "id,text,label\n" + "".join(f"q{n},what is {n}?,{'ab'[n % 2]}\n" for n in range(20))
WHY = "number,why,sure\n" + "".join(f"q{n},because {n},{n}\n" for n in range(2, 20)) + ",,\n"


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    client = api_of(erin)
    columns = {"text": "text", "label": "label", "id": "id"}
    upload_as(client, ASKED, "asked", columns)
    upload_as(client, WHY, "why", {"text": "why"}, task="text-generation")
    return client


def test_columns_of_another_dataset_stand_beside_rows_with_the_same_id(client: APIClient) -> None:
    made = change(client, "asked", operation="join", other="why", their_on="number")
    assert made.status_code == 201, made.data
    assert made.data["operation"]["options"]["other"] == "why@1"
    assert made.data["operation"]["told"] == "Joined columns of why@1 by id"
    version = latest("asked")
    assert (role_of(version, "why"), role_of(version, "id")) == ("extra", "key")
    for row in rows(client, version):
        number = int(row["id"][1:])
        expected = (f"because {number}", str(number)) if number > 1 else (None, None)
        assert (row["why"], row["sure"]) == expected
        assert row["text"] == f"what is {number}?"
    (issue,) = [one for one in version.issues if one["code"] == "not_joined"]
    assert (issue["count"], issue["rows"]) == (2, [0, 1])
    assert version.parent is not None
    before = rows(client, version.parent)
    assert [row["split"] for row in rows(client, version)] == [row["split"] for row in before]


def test_rows_that_are_not_there_may_be_left_out_and_columns_chosen(client: APIClient) -> None:
    asked = {"operation": "join", "other": "why", "their_on": "number", "take": ["sure"]}
    change(client, "asked", **asked, unmatched="leave_out")
    found = rows(client, latest("asked"))
    assert [row["id"] for row in found] == [f"q{n}" for n in range(2, 20)]
    assert "why" not in found[0]


def test_a_name_that_is_taken_is_told_apart(client: APIClient) -> None:
    upload_as(client, ASKED.replace("what", "who"), "asked-2", {"text": "text", "label": "label"})
    change(client, "asked", operation="join", other="asked-2")
    first = rows(client, latest("asked"))[0]
    assert (first["text"], first["original_text"]) == ("what is 0?", "who is 0?")
    assert first["original_label"] == "a"


def test_an_id_that_stands_twice_with_different_columns_is_refused_by_name(
    client: APIClient,
) -> None:
    upload_as(
        client, f"{WHY}q7,another reason,1\n", "why-2", {"text": "why"}, task="text-generation"
    )
    change(client, "asked", operation="join", other="why-2", their_on="number")
    failed = DatasetVersion.objects.get(dataset__name="asked", number=2)
    assert (failed.error or {})["detail"].startswith(
        "The id 'q7' stands in several rows of why-2@1"
    )


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({}, "other"),
        ({"other": "why"}, "their_on"),
        ({"other": "why", "on": "nothing"}, "their_on"),
        ({"other": "why", "on": "split", "their_on": "number"}, "on"),
        ({"other": "why", "their_on": "number", "take": ["nothing"]}, "take"),
        ({"other": "why", "their_on": "number", "unmatched": "guess"}, "unmatched"),
    ],
)
def test_what_cannot_be_joined_is_refused_at_its_field(
    client: APIClient, asked: dict[str, Any], field: str
) -> None:
    answer = client.post(f"{BASE}asked/versions/", {"operation": "join", **asked}, format="json")
    assert answer.status_code == 400, answer.data
    assert list(answer.json()["fields"]) == [field]


def test_the_page_offers_datasets_of_any_task_and_shows_what_comes_of_it(
    client: APIClient, erin: User
) -> None:
    page = signed_in(erin)
    address = reverse("projects:dataset_change", args=["intents", "asked", 1, "join"])
    assert 'value="why@1"' in page.get(address).content.decode()
    given = {"other": "why@1", "their_on": "number", "unmatched": "keep", "look": "yes"}
    assert "because 2" in page.post(address, given).content.decode()
    assert page.post(address, {**given, "take": "why"}).status_code == 200


@pytest.mark.parametrize(
    ("stands", "made"),
    [
        ('[{"label": "A", "text": "a shop"}, {"label": "B"}]', "A: a shop\nB"),
        ('["a shop", "a house", 3]', "a shop\na house\n3"),
        ("no list", "no list"),
        ('{"a": 1}', '{"a": 1}'),
        (None, ""),
    ],
)  # fmt: skip
def test_a_template_puts_a_list_with_an_item_a_line(stands: str | None, made: str) -> None:
    template = Template("{question}\n{choices | list}")
    assert template.names == ["question", "choices"]
    row = {"question": "Where?", "choices": stands, "row_id": 0, "source": "2"}
    assert template.of(row) == f"Where?\n{made}"
    plain = {"choices": json.dumps(["x"]), "row_id": 0, "source": "2"}
    assert Template("{choices}").of(plain) == '["x"]'
