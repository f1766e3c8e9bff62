"""Operations on real data: what leaks, what repeats, and prompts made of columns."""

import json
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from projects.models import Project, User
from tests.conftest import api_of
from tests.projects.test_dataset_versions import file_of
from tests.projects.test_operations import BASE, change, latest, make_all, rows


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    return api_of(erin)


def bring(client: APIClient, name: str, file: Path, test: Path | None = None, **more: Any) -> None:
    body: dict[str, Any] = {"name": name, "file": file_of(file.read_bytes(), file.name), **more}
    if test is not None:
        body["test_file"] = file_of(test.read_bytes(), test.name)
    made = client.post(BASE, body, format="multipart")
    assert made.status_code == 201, made.data
    make_all()


def test_what_leaks_in_banking77_goes_from_train_and_the_diff_says_so(
    client: APIClient, shared_data: Path
) -> None:
    folder = shared_data / "banking77"
    bring(client, "banking", folder / "train.csv", folder / "test.csv")
    before = latest("banking")
    assert {one["code"]: one["count"] for one in before.issues}["leak"] == 6
    change(client, "banking", operation="deduplicate", within="leaks")
    after = latest("banking")
    assert "leak" not in {one["code"] for one in after.issues}
    assert after.splits["test"]["rows"] == before.splits["test"]["rows"] == 3080
    told = client.get(f"{BASE}banking/versions/2/diff/?from=1&kind=removed").json()
    assert (told["added"], told["changed"]) == (0, 0)
    assert told["removed"] == before.rows - after.rows > 0
    assert "test" not in told["splits"]["removed"]
    assert {row["split"] for row in told["results"]} <= {"train", "validation"}


def test_messages_that_repeat_go_and_come_back_as_json_lines(
    client: APIClient, shared_data: Path
) -> None:
    bring(client, "sms", shared_data / "sms_spam" / "spam.csv")
    change(client, "sms", operation="deduplicate")
    version = latest("sms")
    assert not {"duplicate", "near_duplicate"} & {one["code"] for one in version.issues}
    sent = client.get(f"{BASE}sms/versions/2/download/?as=jsonl")
    lines = [json.loads(line) for line in b"".join(sent.streaming_content).splitlines()]  # type: ignore[attr-defined]
    assert len(lines) == version.rows
    assert [line["text"] for line in lines[:50]] == [
        row["text"] for row in rows(client, version)[:50]
    ]


def test_word_problems_get_a_prompt_by_a_template(client: APIClient, shared_data: Path) -> None:
    columns = json.dumps({"prompt": "question", "text": "answer"})
    more: dict[str, Any] = {"task": "text-generation", "columns": columns}
    bring(client, "gsm8k", shared_data / "gsm8k" / "test.jsonl", **more)
    asked = "Solve it step by step.\n\n{prompt}\n"
    change(client, "gsm8k", operation="template", text=asked, into="prompt")
    version = latest("gsm8k")
    assert version.rows == latest("gsm8k").parent.rows  # type: ignore[union-attr]
    first = rows(client, version)[0]
    assert first["prompt"].startswith("Solve it step by step.\n\nJanet")
    told = client.get(f"{BASE}gsm8k/versions/2/diff/?from=1").json()
    assert told["same"] == 0
