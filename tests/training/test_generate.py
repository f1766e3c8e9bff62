"""Teachers write: answers to prompts, new rows from seeds, rows in other words."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.urls import reverse
from rest_framework.response import Response
from rest_framework.test import APIClient

from projects.models import DatasetVersion, ModelVersion, Project, User
from tests.conftest import api_of, signed_in
from tests.projects.test_dataset_versions import file_of
from tests.training.api_server import Body, Service, prompt_of, serving
from tests.training.test_annotate import VERSIONS, make_all, newest, rows_of
from tests.training.test_asking_apis import teacher as api_teacher
from training.answering import asker
from training.operations import making, nearness

ROWS = [
    *(("train", "card", f"my card number {n} has not come yet") for n in range(8)),
    *(("train", "cash", f"the machine kept note {n} of mine") for n in range(2)),
    ("validation", "card", "where in the world is the card you sent"),
    ("test", "cash", "it swallowed all of my money and gave nothing back"),
]


@pytest.fixture(autouse=True)
def in_a_hurry(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]
    monkeypatch.setattr(asker, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(asker, "GLANCE", 0.02)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as one:
        yield one


def upload(user: User, table: str, **more: str) -> APIClient:
    client = api_of(user)
    body = {"file": file_of(table.encode()), "name": "tickets", **more}
    made = client.post("/api/v1/projects/intents/datasets/", body, format="multipart")
    assert made.status_code == 201, made.data
    make_all()
    return client


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    lines = "\n".join(",".join(one) for one in [("split", "label", "text"), *ROWS])
    return upload(erin, lines)


def made_by(client: APIClient, **asked: Any) -> Response:
    made: Response = client.post(VERSIONS, {"operation": "generate", **asked}, format="json")
    if made.status_code == 201:
        make_all()
    return made


def listed(words: list[str]) -> dict[str, Any]:
    import json

    return {"text": json.dumps({"rows": words})}


def test_rouge_l_is_the_share_of_words_in_the_same_order() -> None:
    assert nearness.rouge_l("the cat sat on the mat", "The cat sat, on the mat!") == 1.0
    assert nearness.rouge_l("police killed the gunman", "police kill the gunman") == 0.75
    assert nearness.rouge_l("police killed the gunman", "the gunman kill police") == 0.5  # Lin 2004
    assert nearness.rouge_l("", "word") == 0.0


def test_whatever_is_near_is_found_by_the_words_it_has_in_common() -> None:
    texts = nearness.Texts()
    for text in ("my card has not come yet", "the machine kept my money"):
        texts.add(text, "near")
    texts.add("where is my card", "leak")
    assert texts.near("my card has never come yet", 0.7) == {"near": pytest.approx(10 / 12)}
    assert set(texts.near("where is my new card", 0.7)) == {"leak"}
    assert texts.near("something else", 0.1) == {}


def test_new_rows_are_given_to_the_labels_that_have_fewest() -> None:
    assert making._levelled({"a": 8, "b": 2, "c": 3}, 5) == {"b": 3, "c": 2}
    assert making._levelled({"a": 8, "b": 2}, 10) == {"a": 2, "b": 8}


@pytest.mark.django_db
@pytest.mark.usefixtures("client")
def test_a_page_offers_what_can_be_written_of_such_rows(erin: User) -> None:
    pages = signed_in(erin)
    labelled = reverse("projects:dataset_change", args=["intents", "tickets", 1, "generate"])
    page = pages.get(labelled).content.decode()
    offered = re.findall(r'<option value="(answers|new|paraphrases)"', page)
    assert offered == ["new", "paraphrases"]


@pytest.mark.django_db
def test_new_rows_go_to_train_and_none_of_them_is_near_a_row_that_scores(
    project: Project, client: APIClient, service: Service
) -> None:
    def writes(body: Body) -> dict[str, Any]:
        label = re.search(r"label '(\w+)'", prompt_of(body))
        number = len(service.seen)
        if label is None:  # it judges
            return {"text": "card" if "parcel" in prompt_of(body) else "cash"}
        if label[1] == "card":
            return listed(["my card number 1 has not come yet", f"parcel {number} got lost"])
        return listed(
            [
                "It swallowed all my money and gave nothing back",
                f"banknotes were eaten by terminal {number} downtown",
                f"a parcel was stolen in street {number} today",
            ]
        )

    service.answer = writes
    api_teacher(project, service, concurrency=1)
    reference = ModelVersion.objects.get().reference
    made = made_by(client, teacher=reference, how="new", rows=6, balance=True, judge=True)
    assert made.status_code == 201, made.data

    version = newest()
    rows = rows_of(client, version)
    new = rows[len(ROWS) :]
    assert new
    assert {row["split"] for row in new} == {"train"}
    assert {row["label"] for row in new} == {"cash"}
    assert all(row["text"].startswith("banknotes") for row in new)
    assert all(row["teacher"] == reference and row["made_from"] for row in new)
    from_rows = {int(one) for row in new for one in row["made_from"].split(", ")}
    assert all(rows[one]["split"] == "train" for one in from_rows)
    report = version.statistics["operation"]
    assert report["kept"] == len(new)
    assert set(report["left_out"]) >= {"leak", "judged"}
    codes = {one["code"] for one in version.issues}
    assert {"made_leak", "made_judged"} <= codes
    assert "leak" not in codes


@pytest.mark.django_db
def test_a_paraphrase_keeps_its_label(
    project: Project, client: APIClient, service: Service
) -> None:
    service.answer = lambda body: f"other words about {len(service.seen)} things in {id(body)}"
    api_teacher(project, service)
    made_by(client, teacher=ModelVersion.objects.get().reference, how="paraphrases", label="cash",
            rows=2, nearest=1.0)  # fmt: skip
    rows = rows_of(client, newest())
    new = rows[len(ROWS) :]
    assert len(new) == 4
    assert {row["label"] for row in new} == {"cash"}
    assert {row["made_from"] for row in new} == {"8", "9"}


@pytest.mark.django_db
def test_prompts_are_answered_and_what_is_refused_stays_and_is_listed(
    project: Project, erin: User, service: Service
) -> None:
    table = "prompt,text\n" + "".join(f"question {n},none yet {n}\n" for n in range(12))
    client = upload(
        erin, table, task="text-generation", columns='{"prompt": "prompt", "text": "text"}'
    )
    service.fault = lambda number, body: "refused" if "question 3" in prompt_of(body) else None
    api_teacher(project, service)
    made = made_by(client, teacher=ModelVersion.objects.get().reference, how="answers")
    assert made.status_code == 201, made.data
    version = newest()
    for row in rows_of(client, version):
        refused = row["prompt"] == "question 3"
        assert row["text"] == ("none yet 3" if refused else row["prompt"].upper())
    (issue,) = [one for one in version.issues if one["code"] == "not_answered_refused"]
    assert issue["count"] == 1


WRONG = [
    ({"how": "answers"}, "how"),
    ({"how": "new", "split": "test"}, "split"),
    ({"how": "paraphrases", "rows": 21}, "rows"),
    ({"how": "paraphrases", "balance": True}, "balance"),
    ({"how": "new", "text": "{text}"}, "text"),
    ({"how": "new", "least_words": 9, "most_words": 3}, "most_words"),
    ({"how": "new", "budget": "-1"}, "budget"),
    ({"how": "poems"}, "how"),
    ({}, "how"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("asked", "field"), WRONG)
def test_what_cannot_be_is_refused_at_its_field(
    project: Project, client: APIClient, service: Service, asked: dict[str, Any], field: str
) -> None:
    api_teacher(project, service)
    made = made_by(client, teacher=ModelVersion.objects.get().reference, **asked)
    assert made.status_code == 400
    assert field in made.data["fields"], made.data
    assert DatasetVersion.objects.count() == 1
    assert not service.seen
