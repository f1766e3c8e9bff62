"""Datasets through REST."""

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from rest_framework.response import Response
from rest_framework.test import APIClient

from distillhub.lib import storage
from projects.ingest import ingestion
from projects.models import Dataset, DatasetVersion, Project, StagedUpload, User
from tests.conftest import api_of
from tests.projects.test_dataset_versions import TABLE, file_of
from tests.projects.test_ingest_images import archive, picture

BASE = "/api/v1/projects/intents/datasets/"


def post(client: APIClient, url: str = BASE, **body: Any) -> Response:
    body = {"file": file_of(TABLE)} | ({"name": "words"} if url == BASE else {}) | body
    response: Response = client.post(url, body, format="multipart", **body.pop("extra", {}))
    return response


def ingest_all() -> None:
    for pk in DatasetVersion.objects.ingesting().values_list("pk", flat=True):
        ingestion.ingest(version_id=pk)


def test_an_upload_answers_201_and_becomes_ready(project: Project, erin: User) -> None:
    client = api_of(erin)
    made = post(client, task="text-classification", columns=json.dumps({"text": "text"}))
    assert made.status_code == 201
    assert (made.data["version"], made.data["status"]) == (1, "ingesting")
    ingest_all()
    answer = client.get(f"{BASE}words/versions/1/").json()
    assert answer["status"] == "ready"
    assert answer["labels"] == ["ham", "spam"]
    assert answer["splits"]["test"] == {"rows": 10, "label_counts": {"ham": 5, "spam": 5}}
    assert answer["issues"] == []
    assert (answer["parent"], answer["operation"], answer["error"]) == (None, None, None)


def test_the_next_version_is_an_upload_too(project: Project, erin: User) -> None:
    client = api_of(erin)
    post(client)
    ingest_all()
    assert post(client, f"{BASE}words/versions/").data["version"] == 2
    versions = client.get(f"{BASE}words/versions/").json()
    assert [one["version"] for one in versions["results"]] == [2, 1]
    latest = client.get(BASE).json()["results"][0]["latest"]
    assert (latest["reference"], latest["status"]) == ("words@2", "ingesting")


def test_rows_come_in_pages_with_links(project: Project, erin: User) -> None:
    client = api_of(erin)
    post(client)
    ingest_all()
    first = client.get(f"{BASE}words/versions/1/rows/?label=spam&limit=30").json()
    assert (first["count"], len(first["results"]), first["previous"]) == (50, 30, None)
    second = client.get(first["next"]).json()
    assert (len(second["results"]), second["next"]) == (20, None)
    assert second["results"][0] == {
        "row_id": 60,
        "split": second["results"][0]["split"],
        "label": "spam",
        "text": "words number 60",
        "source": "62",
    }
    for wrong in ("limit=0", "limit=1001", "offset=-1", "split=later", "issue=nope", "limit=x"):
        assert client.get(f"{BASE}words/versions/1/rows/?{wrong}").status_code == 400


def test_a_picture_is_sent_so_that_no_browser_runs_it(project: Project, erin: User) -> None:
    client = api_of(erin)
    evil = picture() + b"<script>alert(1)</script>"
    post(client, file=file_of(archive(("a/1.png", evil), ("b/2.png", picture())).getvalue()))
    ingest_all()
    row = client.get(f"{BASE}words/versions/1/rows/").json()["results"][0]
    response = client.get(row["image"])
    assert response.headers["Content-Type"] == "image/png"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert b"script" not in response.content
    assert client.get(row["image"].replace("/0/", "/9/")).status_code == 404


def test_the_parquet_is_downloaded_as_an_attachment(project: Project, vera: User) -> None:
    post(api_of(project.created_by))
    ingest_all()
    response = api_of(vera).get(f"{BASE}words/versions/1/download/")
    content = b"".join(response.streaming_content)  # type: ignore[attr-defined]
    assert content.startswith(b"PAR1")
    assert int(response.headers["Content-Length"]) == len(content)
    assert response.headers["Content-Disposition"] == 'attachment; filename="words-1.parquet"'


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"file": ""}, "file"),
        ({"file": "not a file"}, "file"),
        ({"file": SimpleUploadedFile("a.csv", b"")}, "file"),
        ({"file": SimpleUploadedFile("a.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")}, "file"),
        ({"name": "a/b"}, "name"),
        ({"name": ""}, "name"),
        ({"task": "image-classification"}, "task"),
        ({"columns": "{"}, "columns"),
        ({"columns": "[1]"}, "columns"),
        ({"columns": "[" * 100_000}, "columns"),
        ({"columns": '{"text": "nope"}'}, "reading.columns.text"),
        ({"splits": '{"train": 2}'}, "reading.splits"),
        ({"reading": '{"encoding": "zip"}'}, "encoding"),
        ({"test_file": SimpleUploadedFile("t.pdf", b"%PDF-1.7 ")}, "test_file"),
    ],
)
def test_what_cannot_be_used_is_refused_at_its_field(
    project: Project, erin: User, body: dict[str, Any], field: str
) -> None:
    response = post(api_of(erin), **body)
    assert response.status_code == 400, response.data
    assert field in response.data["fields"], response.data
    assert not Dataset.objects.exists()


def test_a_taken_name_is_a_conflict(project: Project, erin: User) -> None:
    client = api_of(erin)
    post(client)
    answer = post(client)
    assert (answer.status_code, answer.data["code"]) == (409, "name_taken")


def test_json_without_a_file_is_refused_with_a_sentence(project: Project, erin: User) -> None:
    client = api_of(erin)
    post(client)
    for url in (BASE, f"{BASE}words/versions/"):
        answer = client.post(url, {"name": "words"}, format="json")
        assert answer.status_code == 400
        assert "multipart/form-data" in answer.json()["detail"]


def test_a_version_that_is_not_ready_is_not_changed(project: Project, erin: User) -> None:
    client = api_of(erin)
    post(client)
    answer = client.post(f"{BASE}words/versions/", {"operation": "filter"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")


def test_rows_of_a_version_that_is_not_ready_are_a_conflict(project: Project, erin: User) -> None:
    client = api_of(erin)
    post(client)
    for part in ("rows", "download"):
        answer = client.get(f"{BASE}words/versions/1/{part}/")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_ready")


def test_the_same_key_uploads_once(project: Project, erin: User) -> None:
    client = api_of(erin)
    answers = [post(client, extra={"headers": {"Idempotency-Key": "k"}}).data for _ in range(2)]
    assert answers[0] == answers[1]
    assert DatasetVersion.objects.count() == 1


VERSION = "words/versions/1/"


@pytest.mark.parametrize(
    "tail", ["", "words/", "words/versions/", VERSION, f"{VERSION}rows/", f"{VERSION}download/"]
)
def test_a_stranger_gets_404_and_a_viewer_may_not_upload(
    project: Project, charlie: User, vera: User, tail: str
) -> None:
    post(api_of(project.created_by))
    ingest_all()
    assert api_of(charlie).get(BASE + tail).status_code == 404
    seen = api_of(vera).get(BASE + tail)
    assert seen.status_code == 200
    b"".join(seen)  # a download closes its file when it has been sent
    assert post(api_of(vera)).status_code == 403
    assert post(api_of(charlie)).status_code == 404


def test_a_body_that_is_too_large_is_refused_before_it_is_kept(
    project: Project, erin: User, settings: Any
) -> None:
    settings.DISTILLHUB_MAX_UPLOAD_MIB = 0
    answer = post(api_of(erin))
    assert (answer.status_code, answer.data["code"]) == (413, "too_large")
    client = Client()
    client.force_login(erin)
    page = client.post("/p/intents/datasets/new/", {"file": file_of(TABLE)})
    assert 400 <= page.status_code < 500


@pytest.mark.django_db(transaction=True)
def test_no_transaction_is_open_while_an_upload_is_read_and_stored(
    project: Project, erin: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def put(*args: Any, **kwargs: Any) -> storage.Blob:
        seen.append(connection.in_atomic_block)
        return kept(*args, **kwargs)

    kept = storage.put
    monkeypatch.setattr(storage, "put", put)
    client = api_of(erin)
    assert post(client).status_code == 201
    columns = json.dumps({"text": "no such column"})
    assert post(client, name="other", columns=columns).status_code == 400
    assert seen
    assert not any(seen)
    assert StagedUpload.objects.count() == 1, "what could not be confirmed waits for nobody"
