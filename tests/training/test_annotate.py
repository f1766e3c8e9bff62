"""Teachers label the rows of a dataset: models with weights, and services behind APIs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from django.urls import reverse
from rest_framework.response import Response
from rest_framework.test import APIClient

from distillhub.lib import leases
from distillhub.lib.errors import Invalid
from projects import jobs
from projects.ingest import ingestion
from projects.models import DatasetVersion, ModelVersion, Project, User
from tests.conftest import api_of, signed_in
from tests.projects.test_dataset_versions import file_of
from tests.training.api_server import Body, Service, prompt_of, serving
from tests.training.conftest import launch, sentences
from tests.training.test_asking_apis import teacher as api_teacher
from training.answering import asker
from training.models import TeacherOutputs
from training.operations import asking
from training.worker import runs as executing

VERSIONS = "/api/v1/projects/intents/datasets/tickets/versions/"


@pytest.fixture(autouse=True)
def in_a_hurry(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DISTILLHUB_OUTGOING_ALLOW = ["127.0.0.0/8"]
    monkeypatch.setattr(asker, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(asker, "LONGEST_WAIT", 0.02)
    monkeypatch.setattr(asker, "GLANCE", 0.02)


@pytest.fixture
def service() -> Iterator[Service]:
    with serving() as one:
        one.answer = knows
        yield one


def knows(body: Body) -> str:
    """The label that a word of the prompt gives away."""
    said = prompt_of(body)
    told = {"invoice": "billing", "parcel": "delivery", "password": "account"}
    return next((label for word, label in told.items() if word in said), "account")


def upload(user: User, rows: list[dict[str, Any]]) -> APIClient:
    """`tickets@1`, of these rows."""
    lines = [f"{one['text']},{one['label'] or ''},{one['split']}" for one in rows]
    return upload_file(user, "\n".join(["text,label,split", *lines]).encode())


def upload_file(user: User, table: bytes, **more: str) -> APIClient:
    client = api_of(user)
    body = {"file": file_of(table), "name": "tickets", "task": "text-classification"} | more
    made = client.post("/api/v1/projects/intents/datasets/", body, format="multipart")
    assert made.status_code == 201, made.data
    make_all()
    return client


@pytest.fixture
def client(project: Project, erin: User) -> APIClient:
    """Thirty sentences, of which every second has no label."""
    rows = sentences(30)
    for row in rows[::2]:
        row["label"] = None
    return upload(erin, rows)


def annotate(client: APIClient, **asked: Any) -> Response:
    made: Response = client.post(VERSIONS, {"operation": "annotate", **asked}, format="json")
    if made.status_code == 201:
        make_all()
    return made


def make_all() -> None:
    for pk in DatasetVersion.objects.ingesting().values_list("pk", flat=True):
        jobs.ingest_dataset_version(version_id=pk)


def newest() -> DatasetVersion:
    found = DatasetVersion.objects.filter(dataset__name="tickets").order_by("-number").first()
    assert found is not None
    assert found.is_ready, found.error
    return found


def rows_of(client: APIClient, version: DatasetVersion) -> list[dict[str, Any]]:
    return list(client.get(f"{VERSIONS}{version.number}/rows/?limit=1000").json()["results"])


@pytest.mark.django_db
def test_a_service_labels_the_rows_without_a_label(
    project: Project, client: APIClient, service: Service
) -> None:
    api_teacher(project, service)
    made = annotate(client, teacher=ModelVersion.objects.get().reference)
    assert made.status_code == 201, made.data

    version = newest()
    assert "gave labels to rows without a label" in version.told
    rows = rows_of(client, version)
    assert all(row["label"] for row in rows)
    for row in rows:
        if row["row_id"] % 2:
            assert row["teacher"] is None
        else:
            assert row["label"] == knows({"prompt": row["text"]})
            assert row["teacher"] == ModelVersion.objects.get().reference
    assert len(service.seen) == len({row["text"] for row in rows[::2]})
    report = version.statistics["operation"]
    assert (report["rows"], report["labelled"], report["stopped"]) == (15, 15, None)
    (issue,) = [one for one in version.issues if one["code"] == "teacher_scores"]
    assert [row["split"] != "train" for row in rows[::2]].count(True) == issue["count"] > 0
    assert float(report["cost"]) > 0


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_a_model_with_weights_labels_them_and_is_not_asked_again(
    project: Project, student: ModelVersion, teacher: ModelVersion, erin: User
) -> None:
    client = upload(erin, sentences(300))
    dataset = newest()
    trained = launch(project, name="teacher", student="big", training={"epochs": 15})
    executing.execute(trained.pk)
    trained.refresh_from_db()
    assert trained.output is not None, trained.error

    for _ in range(2):
        made = annotate(
            client,
            version=1,
            teacher=f"run/{trained.number}",
            unlabelled=False,
            split="validation",
            write=["label", "probabilities"],
            into="said",
        )
        assert made.status_code == 201, made.data
    rows = [row for row in rows_of(client, newest()) if row["split"] == "validation"]
    assert len(rows) == 30
    assert sum(row["said"] == row["label"] for row in rows) > 18
    for row in rows:
        told = {label: row[f"p_{label}"] for label in dataset.labels}
        assert sum(told.values()) == pytest.approx(1.0, abs=1e-4)
        assert max(told, key=lambda one: told[one]) == row["said"]
        assert row["teacher_confidence"] == pytest.approx(told[row["said"]])
    assert newest().soft_labels == {label: f"p_{label}" for label in dataset.labels}
    assert newest().statistics["operation"]["stored"] == 30
    assert TeacherOutputs.objects.filter(split="validation").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("worker")
def test_an_upload_without_any_label_is_annotated_and_then_trains(
    project: Project, student: ModelVersion, service: Service, erin: User
) -> None:
    words = [(one["text"], knows({"prompt": one["text"]}), one["split"]) for one in sentences(60)]
    table = "\n".join(["text,split", *(f"{text},{split}" for text, _, split in words)])
    client = upload_file(erin, table.encode(), columns='{"text": "text"}')
    assert (newest().labels, newest().labelled) == ([], 0)
    with pytest.raises(Invalid) as caught:
        launch(project)
    assert caught.value.fields["dataset"] == [
        "No row of tickets@1 has a label. Have a teacher label them first (the change annotate), "
        "and train on the version that comes of it."
    ]

    api_teacher(project, service)
    asked = {"teacher": ModelVersion.objects.get(source__kind="api").reference}
    refused = annotate(client, **asked)
    assert refused.data["fields"] == {"labels": ["There must be two labels to choose from."]}
    pages = signed_in(erin)
    address = reverse("projects:dataset_change", args=["intents", "tickets", 1, "annotate"])
    assert 'name="labels"' in pages.get(address).content.decode()
    posted = asked | {"write": "label", "labels": "account\r\nbilling\r\ndelivery\r\n"}
    posted |= {"unlabelled": "on", "into": "label", "budget": "5"}
    made = pages.post(address, posted)
    assert made.status_code == 302, made.content.decode()
    make_all()
    version = newest()
    address = reverse("projects:dataset_change", args=["intents", "tickets", 2, "annotate"])
    assert 'name="labels"' not in pages.get(address).content.decode()
    assert version.labels == ["account", "billing", "delivery"]
    assert [row["label"] for row in rows_of(client, version)] == [label for _, label, _ in words]
    run = launch(project, dataset="tickets@2")
    executing.execute(run.pk)
    run.refresh_from_db()
    assert run.output is not None, run.error
    assert run.output.labels == version.labels


@pytest.mark.django_db
def test_when_the_budget_is_spent_the_rest_waits_and_nothing_is_paid_for_twice(
    project: Project, client: APIClient, service: Service
) -> None:
    api_teacher(project, service, concurrency=1)
    asked = {"teacher": ModelVersion.objects.get().reference, "version": 1}
    annotate(client, budget="0.0015", **asked)
    first = newest()
    report = first.statistics["operation"]
    assert report["stopped"]["reason"] == "budget"
    assert 0 < report["labelled"] < 15
    assert float(report["cost"]) <= 0.0015
    issues = {one["code"]: one["count"] for one in first.issues}
    assert issues["not_asked"] == issues["missing_label"] == 15 - report["labelled"]
    paid = len(service.seen)

    annotate(client, **asked)
    assert newest().statistics["operation"]["labelled"] == 15
    assert newest().statistics["operation"]["cached"] >= report["labelled"]
    assert set(service.charges.values()) == {1}
    assert len(service.seen) - paid == newest().statistics["operation"]["requests"]
    estimate = client.post(
        VERSIONS.replace("versions", "estimate"), {"operation": "annotate", **asked}, format="json"
    ).json()
    assert (estimate["rows"], estimate["asked"], estimate["cost"]) == (15, 0, "0.000000")


@pytest.mark.django_db
def test_rows_that_were_not_asked_about_have_a_button_that_goes_on_with_them(
    project: Project, client: APIClient, service: Service, erin: User
) -> None:
    service.answer = lambda body: json.dumps({"rationale": "So.", "label": knows(body)})
    api_teacher(project, service, concurrency=1)
    teacher = ModelVersion.objects.get().reference
    annotate(client, teacher=teacher, budget="0.004", write=["label", "rationale"])
    stopped = newest()
    left = {one["code"]: one["count"] for one in stopped.issues}["not_asked"]
    pages = signed_in(erin)
    version = reverse("projects:dataset_version", args=["intents", "tickets", stopped.number])
    page = pages.get(version, {"tab": "issues"}).content.decode()
    assert "Go on with these" in page
    address = reverse(
        "projects:dataset_change", args=["intents", "tickets", stopped.number, "annotate"]
    )
    rest: dict[str, str] = {"again": str(stopped.number), "issue": "not_asked"}
    first = pages.get(address, rest).content.decode()
    assert f'<option value="{teacher}" selected>' in first
    assert '<option value="not_asked" selected>' in first
    pages.post(address, rest)
    make_all()
    went_on = newest()
    assert went_on.parent == stopped
    assert went_on.statistics["operation"]["rows"] == left
    options = (went_on.operation or {})["options"]
    assert (options["write"], options["issue"]) == (["label", "rationale"], "not_asked")
    assert (options["teacher"], options["budget"]) == (teacher, "0.004000")


@pytest.mark.django_db
def test_a_key_that_is_not_accepted_fails_the_version_with_its_reason(
    project: Project, client: APIClient, service: Service
) -> None:
    service.key = "sk-other"
    api_teacher(project, service)
    annotate(client, teacher=ModelVersion.objects.get().reference)
    made = DatasetVersion.objects.order_by("-number")[0]
    assert (made.number, made.status) == (2, "failed")
    assert "key" in (made.error or {})["detail"]


@pytest.mark.django_db
def test_reasons_stand_beside_and_what_was_given_stays(
    project: Project, client: APIClient, service: Service
) -> None:
    def explains(body: Body) -> str:
        said = {"rationale": "It names the thing."}
        if "The right answer is" not in prompt_of(body):
            said["label"] = knows(body)
        return json.dumps(said)

    service.answer = explains
    api_teacher(project, service)
    before = rows_of(client, newest())
    annotate(
        client,
        teacher=ModelVersion.objects.get().reference,
        write=["label", "rationale"],
        unlabelled=False,
    )
    for was, row in zip(before, rows_of(client, newest()), strict=True):
        assert row["teacher_rationale"] == "It names the thing."
        assert row["label"] == (was["label"] or knows({"prompt": row["text"]}))
    assert newest().statistics["operation"]["labelled"] == 15


@pytest.mark.django_db
def test_rows_of_which_the_teacher_is_not_sure_stay_without_a_label(
    project: Project, client: APIClient, service: Service
) -> None:
    """The service tells no probabilities, so nobody knows how sure it is."""
    api_teacher(project, service)
    annotate(client, teacher=ModelVersion.objects.get().reference, confidence=0.7)
    issues = {one["code"]: one["count"] for one in newest().issues}
    assert issues["not_confident"] == issues["missing_label"] == 15


@pytest.mark.django_db
def test_several_labels_and_numbers_are_asked_for_as_what_they_are(
    project: Project, erin: User, service: Service
) -> None:
    client = api_of(erin)
    tables = {
        "several": ("multi_label", "a|b", "c", '{"label": ["c", "a"]}', "a|c"),
        "numbers": ("regression", "1.5", "2", '{"label": 3.5}', "3.5"),
    }
    api_teacher(project, service)
    for name, (problem, one, two, said, stored) in tables.items():
        lines = [f"text {n},{one if n % 2 else two}" for n in range(20)]
        table = "\n".join(["text,label", *lines, "text twenty,", "text twentyone,"])
        body = {"file": file_of(table.encode()), "name": name, "problem": problem,
                "columns": '{"text": "text", "label": "label"}'}  # fmt: skip
        made = client.post("/api/v1/projects/intents/datasets/", body, format="multipart")
        assert made.status_code == 201, made.data
        make_all()
        service.answer = lambda body, said=said: said  # type: ignore[misc]
        address = f"/api/v1/projects/intents/datasets/{name}/versions/"
        asked = {"operation": "annotate", "teacher": ModelVersion.objects.get().reference}
        made = client.post(address, asked, format="json")
        assert made.status_code == 201, made.data
        make_all()
        rows = client.get(f"{address}2/rows/?limit=100").json()["results"]
        assert [row["label"] for row in rows if "twenty" in row["text"]] == [stored, stored]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"teacher": "nobody"}, "teacher"),
    ({"teacher": "run/7"}, "teacher"),
    ({}, "teacher"),
    ({"write": []}, "write"),
    ({"write": ["poems"]}, "write.0"),
    ({"write": ["probabilities", "rationale"]}, "write"),
    ({"confidence": 2}, "confidence"),
    ({"confidence": 0.5, "write": ["rationale"]}, "confidence"),
    ({"into": "text"}, "into"),
    ({"label": "billing"}, "unlabelled"),
    ({"text": "{label}"}, "text"),
    ({"text": "{nothing}"}, "text"),
    ({"labels": ["only"]}, "labels"),
    ({"budget": "0"}, "budget"),
    ({"split": "nowhere"}, "split"),
]


@pytest.mark.django_db
@pytest.mark.parametrize(("asked", "field"), WRONG)
def test_what_cannot_be_is_refused_at_its_field(
    project: Project, client: APIClient, service: Service, asked: dict[str, Any], field: str
) -> None:
    known = {} if field == "teacher" else {"teacher": api_teacher(project, service).reference}
    for made in (
        annotate(client, **known, **asked),
        client.post(
            VERSIONS.replace("versions", "estimate"),
            {"operation": "annotate", **known, **asked},
            format="json",
        ),
    ):
        assert made.status_code == 400, made.data
        assert field in made.data["fields"], made.data
    assert not service.seen


@pytest.mark.django_db
def test_a_worker_that_has_to_leave_gives_it_back_and_another_goes_on(
    project: Project, client: APIClient, service: Service
) -> None:
    def leaves(body: Body) -> str:
        if len(service.seen) == 5:
            leases.stopping.set()
        return knows(body)

    service.answer = leaves
    api_teacher(project, service, concurrency=1)
    try:
        annotate(client, teacher=ModelVersion.objects.get().reference)
    finally:
        leases.stopping.clear()
    waiting = DatasetVersion.objects.get(number=2)
    assert (waiting.status, waiting.lease_until) == ("ingesting", None)

    make_all()
    report = newest().statistics["operation"]
    assert (report["labelled"], report["cached"]) == (15, 5)
    assert set(service.charges.values()) == {1}
    assert len(service.seen) == 15


@pytest.mark.parametrize(
    ("left", "done", "seconds", "said"),
    [
        (100, 0, 5.0, ""),
        (0, 100, 5.0, ""),
        (4588, 412, 16.2, ", about 3 minutes left"),
        (10, 412, 16.2, ", about a minute left"),
        (100_000, 412, 41.2, ", about 3 hours left"),
    ],
)
def test_how_long_it_will_take_is_told_from_what_was_asked(
    left: int, done: int, seconds: float, said: str
) -> None:
    assert asking.left_words(left, done, seconds) == said


@pytest.mark.django_db
def test_how_far_it_is_is_told_while_it_asks(
    project: Project, client: APIClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "TELLS", 0.0)
    told: set[str] = set()

    beat = ingestion.Turn.beat

    def heard(turn: ingestion.Turn, stage: str, fraction: float) -> None:
        told.add(stage)
        beat(turn, stage, fraction)

    monkeypatch.setattr(ingestion.Turn, "beat", heard)
    api_teacher(project, service)
    annotate(client, teacher=ModelVersion.objects.get().reference)
    assert "0 of 15 rows answered" in told
    assert "15 of 15 rows answered" in told
