"""Teachers label the rows of a dataset: models with weights, and services behind APIs."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.response import Response
from rest_framework.test import APIClient

from projects import jobs
from projects.models import DatasetVersion, ModelVersion, Project, User
from tests.conftest import api_of
from tests.projects.test_dataset_versions import file_of
from tests.training.api_server import Body, Service, prompt_of, serving
from tests.training.conftest import launch, sentences
from tests.training.test_asking_apis import teacher as api_teacher
from training.answering import asker
from training.models import TeacherOutputs
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


def upload_file(user: User, table: bytes) -> APIClient:
    client = api_of(user)
    body = {"file": file_of(table), "name": "tickets"}
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
