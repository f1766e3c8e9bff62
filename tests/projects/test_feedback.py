"""Feedback: what people say is right of an input, kept, shown, and made rows of."""

import base64
import io
import json
import wave
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from rest_framework.test import APIClient

from projects.models import Feedback, Project, User
from projects.services import feedback
from tests import make
from tests.conftest import api_of, signed_in
from tests.projects.test_ingest_images import archive, picture
from tests.projects.test_operations import latest, make_all, rows, upload

BASE = "/api/v1/projects/intents/feedback/"
JSON = dict[str, Any]


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    return api_of(erin)


def say(client: APIClient, status: int = 201, **body: Any) -> JSON:
    answer = client.post(BASE, body, format="json")
    assert answer.status_code == status, answer.content
    found: JSON = answer.json()
    return found


def promote(client: APIClient, status: int = 201, **body: Any) -> JSON:
    answer = client.post(f"{BASE}promote/", body, format="json")
    assert answer.status_code == status, answer.content
    make_all()
    found: JSON = answer.json()
    return found


def test_it_is_kept_with_what_models_answered_and_becomes_rows(client: APIClient) -> None:
    upload(client)
    make.model_version(Project.objects.get(), "tiny")
    said = [{"model": "tiny@1", "label": "card", "probability": 0.7}]
    kept = say(client, model="tiny@1", input="money back, now", label="refund", said=said, note="!")
    assert kept["task"] == "text-classification"
    assert (kept["input"], kept["label"], kept["said"]) == ("money back, now", "refund", said)
    assert kept["is_waiting"] is True
    say(client, task="text-classification", input="a label nobody knew", label="other")

    made = promote(client, dataset="words")
    assert (made["version"], made["operation"]["told"]) == (
        2,
        "Added 2 rows of feedback to train",
    )
    version = latest()
    added = rows(client, version)[-2:]
    assert [(row["text"], row["label"], row["split"]) for row in added] == [
        ("money back, now", "refund", "train"),
        ("a label nobody knew", "other", "train"),
    ]
    assert added[0]["source"] == f"feedback {kept['id']} by erin"
    assert version.labels == ["card", "other", "refund"]
    assert version.rows == 104
    shown = client.get(BASE).json()["results"]
    assert {one["version"] for one in shown} == {"words@2"}
    assert client.get(f"{BASE}?waiting=true").json()["results"] == []
    promote(client, 400, dataset="words")


def test_what_failed_to_become_a_version_waits_again(client: APIClient) -> None:
    upload(client)
    kept = say(client, task="text-classification", input="x y", label="refund")
    version = make.dataset_version(Project.objects.get(), "words", status="failed")
    Feedback.objects.update(version=version)
    assert client.get(f"{BASE}{kept['id']}/").json()["is_waiting"] is True
    made = promote(client, dataset="words@1", split="test", ids=[kept["id"]])
    assert rows(client, latest())[-1]["split"] == "test"
    assert made["version"] == 3


def test_a_picture_becomes_a_row_of_pictures(client: APIClient) -> None:
    pictures = [
        (f"{name}/{n}.png", picture(color=20 * n + shade))
        for n in range(12)
        for shade, name in enumerate(("cat", "dog"))
    ]
    upload(client, archive(*pictures).getvalue(), "pets")
    png = picture(color=251)
    encoded = base64.b64encode(png).decode()
    first = say(client, task="image-classification", input=encoded, label="dog")
    assert first["input"] is None
    assert len(first["sha256"]) == 64
    sent = client.post(
        BASE,
        {"task": "image-classification", "label": "cat", "said": "[]",
         "input": SimpleUploadedFile("x.png", picture(color=253))},
        format="multipart",
    )  # fmt: skip
    assert sent.status_code == 201, sent.content
    shown = client.get(f"/p/intents/feedback/{first['id']}/file/")
    assert shown.status_code in (302, 200)
    promote(client, dataset="pets")
    version = latest("pets")
    assert version.rows == 26
    assert [row["label"] for row in rows(client, version)][-2:] == ["dog", "cat"]


def test_a_sound_is_kept_and_heard_again(project: Project, erin: User) -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\x00\x10\x00\xf0" * 800)
    kept = feedback.save(
        project=project, task="audio-classification", given=out.getvalue(), label="seven", by=erin
    )
    heard = signed_in(erin).get(f"/p/intents/feedback/{kept.pk}/file/")
    assert heard.headers["Content-Type"] == "audio/wav"
    assert heard.content[:4] == b"RIFF"


def test_a_table_s_row_has_the_dataset_s_columns(client: APIClient) -> None:
    lines = "".join(f"{n},{'north' if n % 2 else 'south'},{'yes' if n % 3 else 'no'}\n"
                    for n in range(60))  # fmt: skip
    content = f"size,place,label\n{lines}".encode()
    body = {"file": SimpleUploadedFile("t.csv", content), "name": "table",
            "task": "tabular-classification",
            "columns": json.dumps({"label": "label", "features": ["size", "place"]})}  # fmt: skip
    made = client.post("/api/v1/projects/intents/datasets/", body, format="multipart")
    assert made.status_code == 201, made.content
    make_all()
    task = "tabular-classification"
    say(client, task=task, input={"size": 7.5, "place": "east"}, label="yes")
    bad = say(client, task=task, input={"size": 7.5, "colour": "red"}, label="yes")
    refused = promote(client, 400, dataset="table")
    assert "no column colour" in refused["detail"]
    assert client.delete(f"{BASE}{bad['id']}/").status_code == 204
    promote(client, dataset="table")
    added = rows(client, latest("table"))[-1]
    assert (added["size"], added["place"], added["label"]) == (7.5, "east", "yes")


def test_what_should_have_been_written_stands_behind_its_prompt(client: APIClient) -> None:
    chats = [[{"role": "user", "content": f"say {n}"}, {"role": "assistant", "content": str(n)}]
             for n in range(30)]  # fmt: skip
    content = "".join(json.dumps({"messages": one}) + "\n" for one in chats).encode()
    body = {"file": SimpleUploadedFile("c.jsonl", content), "name": "talk",
            "task": "text-generation"}  # fmt: skip
    made = client.post("/api/v1/projects/intents/datasets/", body, format="multipart")
    assert made.status_code == 201, made.content
    make_all()
    say(client, task="text-generation", input="say eight", label="8")
    promote(client, dataset="talk")
    added = json.loads(rows(client, latest("talk"))[-1]["text"])
    assert added == [
        {"role": "user", "content": "say eight"},
        {"role": "assistant", "content": "8"},
    ]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"task": "text-classification", "input": "x", "label": ""}, 400, "what is right"),
        ({"task": "text-classification", "input": " ", "label": "a"}, 400, "text that was tried"),
        ({"task": "text-classification", "input": 3, "label": "a"}, 400, "text that was tried"),
        ({"task": "feature-extraction", "input": "x", "label": "a"}, 400, "no label"),
        ({"task": "image-classification", "input": "bm90", "label": "a"}, 400, "no picture"),
        ({"task": "image-classification", "input": "§", "label": "a"}, 400, "base64"),
        ({"task": "tabular-classification", "input": {"a": [1]}, "label": "a"}, 400, "a number"),
        ({"input": "x", "label": "a"}, 400, "Name the model"),
        ({"model": "none@1", "input": "x", "label": "a"}, 404, "no model"),
        ({"task": "text-classification", "input": "x" * 200_001, "label": "a"}, 413, "characters"),
    ],
)
def test_what_is_no_feedback_is_refused(
    body: JSON, status: int, words: str, client: APIClient
) -> None:
    assert words in say(client, status, **body)["detail"]
    assert not Feedback.objects.exists()


def test_viewers_read_editors_add_and_strangers_see_nothing(
    client: APIClient, vera: User, charlie: User
) -> None:
    kept = say(client, task="text-classification", input="hello", label="yes")
    assert api_of(vera).get(BASE).json()["results"][0]["label"] == "yes"
    assert api_of(vera).post(BASE, {}, format="json").status_code == 403
    assert api_of(vera).delete(f"{BASE}{kept['id']}/").status_code == 403
    assert api_of(charlie).get(BASE).status_code == 404


def test_the_page_lists_it_and_adds_it_to_a_dataset(client: APIClient, erin: User) -> None:
    browser = signed_in(erin)
    assert "No feedback yet" in browser.get("/p/intents/feedback/").content.decode()
    upload(client)
    kept = say(
        client, task="text-classification", input="money <b>now</b>", label="refund",
        said=[{"model": "tiny@1", "label": "card"}],
    )  # fmt: skip
    page = browser.get("/p/intents/feedback/").content.decode()
    assert "money &lt;b&gt;now" in page
    assert "tiny@1" in page
    assert "Add 1 row to a dataset" in page
    sent = browser.post("/p/intents/feedback/promote/", {"dataset": "words@1", "split": "train"})
    assert sent.headers["Location"] == "/p/intents/datasets/words/2/"
    refused = browser.post(f"/p/intents/feedback/{kept['id']}/delete/", follow=True)
    assert "is being made of it" in refused.content.decode()
    make_all()
    browser.post(f"/p/intents/feedback/{kept['id']}/delete/")
    assert not Feedback.objects.exists()
    assert latest().rows == 103
