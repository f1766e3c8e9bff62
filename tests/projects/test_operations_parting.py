"""One row becomes several: an item of a list each, or a piece of a text each."""

import json
from typing import Any

import pytest
from rest_framework.test import APIClient

from projects.models import Project, User
from projects.operations import parting
from tests.conftest import api_of, signed_in
from tests.projects.test_dataset_versions import file_of
from tests.projects.test_operations import BASE, change, latest, make_all, rows, upload

LONG = "One sentence stands here. " * 20
LINES: list[dict[str, Any]] = [
    {"key": f"k{n}", "text": f"asked {n}", "label": "ab"[n % 2], "parts": ["x", "y", n]}
    for n in range(30)
]
LINES[0]["parts"], LINES[1]["parts"], LINES[2]["text"] = [], "none", LONG


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    client = api_of(erin)
    columns = {"text": "text", "label": "label", "id": "key"}
    body = {
        "file": file_of("\n".join(map(json.dumps, LINES)).encode(), "words.jsonl"),
        "name": "words",
        "task": "text-classification",
        "columns": json.dumps(columns),
    }
    made = client.post(BASE, body, format="multipart")
    assert made.status_code == 201, made.data
    make_all()
    return client


def test_a_list_becomes_a_row_for_each_item(client: APIClient) -> None:
    before = {row["row_id"]: row for row in rows(client, latest())}
    made = change(client, operation="explode", column="parts")
    assert made.status_code == 201, made.data
    assert made.data["operation"]["told"] == "Made a row of each item of parts"
    version = latest()
    assert version.rows == 1 + 1 + 28 * 3
    found = rows(client, version)
    assert [row["parts"] for row in found[:5]] == [None, "none", "x", "y", "2"]
    for row in found:
        origin = before[int(row["part_of"])]
        same = ("text", "label", "split", "key")
        assert [row[name] for name in same] == [origin[name] for name in same]
    assert version.column_of("group") == "part_of"
    assert version.column_of("key") == ""


def test_texts_are_cut_and_their_pieces_stay_together(client: APIClient) -> None:
    made = change(client, operation="cut", characters=100)
    assert made.status_code == 201, made.data
    version = latest()
    cut = [row for row in rows(client, version) if row["part_of"] == "2"]
    assert "".join(row["text"] for row in cut) == LONG
    assert all(len(row["text"]) <= 100 and row["text"].endswith(". ") for row in cut)
    assert version.rows == 29 + len(cut)
    change(client, operation="split", train=0.5, validation=0.25, test=0.25)
    again = [row for row in rows(client, latest()) if row["part_of"] == "2"]
    assert len({row["split"] for row in again}) == 1


@pytest.mark.parametrize("overlap", [0, 7, 50])
@pytest.mark.parametrize("text", [LONG, "x" * 1000, "a b " * 300, ("line\n" * 30 + "\n") * 4])
def test_pieces_are_within_their_length_and_leave_nothing_out(text: str, overlap: int) -> None:
    found = list(parting.pieces(text, 100, overlap))
    assert all(0 < len(one) <= 100 for one in found)
    if not overlap:
        assert "".join(found) == text
        return
    made = found[0]
    for one in found[1:]:
        shared = next(n for n in range(overlap, -1, -1) if made.endswith(one[:n]))
        made += one[shared:]
    assert text.replace(" ", "").endswith(made.replace(" ", "")[-60:])
    assert text.startswith(found[0])
    assert text.endswith(found[-1])


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"operation": "explode"}, "column"),
        ({"operation": "explode", "column": "none"}, "column"),
        ({"operation": "explode", "column": "row_id"}, "column"),
        ({"operation": "cut", "characters": 5}, "characters"),
        ({"operation": "cut", "characters": 100, "overlap": 60}, "overlap"),
    ],
)
def test_what_cannot_be_parted_is_refused_by_field(
    client: APIClient, asked: dict[str, Any], field: str
) -> None:
    made = change(client, **asked)
    assert (made.status_code, list(made.data["fields"])) == (400, [field])


def test_chats_stay_whole(client: APIClient) -> None:
    chat = json.dumps([{"role": "user", "content": LONG}, {"role": "assistant", "content": "y"}])
    cell = chat.replace('"', '""')
    upload(client, "text\n" + "\n".join(f'"{cell}{" " * n}"' for n in range(9)), "chats")
    assert change(client, "chats", operation="cut", characters=100).status_code == 201
    assert latest("chats").rows == 9


def test_pages_offer_both(client: APIClient, erin: User) -> None:
    pages = signed_in(erin)
    for key, field in (("explode", "column"), ("cut", "overlap")):
        page = pages.get(f"/p/intents/datasets/words/1/change/{key}/")
        assert page.status_code == 200
        assert f'name="{field}"' in page.content.decode()
