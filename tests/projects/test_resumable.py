"""Resumable uploads: the tus protocol, and what becomes of the files."""

import base64
import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone
from rest_framework.response import Response

from distillhub.lib import storage
from projects import jobs
from projects.models import DatasetVersion, Project, ResumableUpload, User
from tests.conftest import api_of
from tests.projects.test_dataset_versions import TABLE

BASE = "/api/v1/uploads/"
DATASETS = "/api/v1/projects/intents/datasets/"
BYTES = "application/offset+octet-stream"
TUS = {"HTTP_TUS_RESUMABLE": "1.0.0"}


def metadata(**told: str) -> str:
    return ",".join(f"{key} {base64.b64encode(told[key].encode()).decode()}" for key in told)


def begin(client: Any, size: int = len(TABLE), **told: str) -> str:
    told = {"filename": "words.csv"} | told
    made = client.post(
        BASE, HTTP_UPLOAD_LENGTH=str(size), HTTP_UPLOAD_METADATA=metadata(**told), **TUS
    )
    assert made.status_code == 201, made.content
    return str(made["Location"]).removeprefix("http://testserver")


def send(client: Any, url: str, offset: int, content: bytes, **headers: str) -> Response:
    sent: Response = client.generic(
        "PATCH", url, content, BYTES, HTTP_UPLOAD_OFFSET=str(offset), **TUS, **headers
    )
    return sent


def test_a_file_arrives_in_pieces_and_becomes_a_dataset(project: Project, erin: User) -> None:
    client: Any = api_of(erin)
    url = begin(client, sha256=hashlib.sha256(TABLE).hexdigest())
    assert send(client, url, 0, TABLE[:100])["Upload-Offset"] == "100"
    standing = client.head(url, **TUS)
    assert (standing["Upload-Offset"], standing["Upload-Length"]) == ("100", str(len(TABLE)))
    assert standing["Cache-Control"] == "no-store"
    early = client.post(DATASETS, {"name": "words", "upload": url.split("/")[-2]}, format="json")
    assert (early.status_code, early.json()["code"]) == (409, "upload_incomplete")
    assert send(client, url, 100, TABLE[100:]).status_code == 204

    made = client.post(
        DATASETS,
        {"name": "words", "upload": url.split("/")[-2], "columns": {"text": "text"}},
        format="json",
    )
    assert made.status_code == 201, made.json()
    for pk in DatasetVersion.objects.values_list("pk", flat=True):
        jobs.ingest_dataset_version(version_id=pk)
    version = DatasetVersion.objects.get()
    assert (version.status, version.source_name) == ("ready", "words.csv")
    assert client.head(url, **TUS).status_code == 404  # used up
    assert not list(storage.listing("uploads"))


def test_several_files_become_one_dataset_and_their_names_say_the_splits(
    project: Project, erin: User
) -> None:
    client: Any = api_of(erin)
    ids = []
    for name in ("words-train.csv", "words-valid.csv", "words_test.csv"):
        url = begin(client, filename=name)
        send(client, url, 0, TABLE)
        ids.append(url.split("/")[-2])
    made = client.post(DATASETS, {"name": "words", "upload": ids}, format="json")
    assert made.status_code == 201, made.json()
    files = made.json()["reading"]["files"]
    assert [one["split"] for one in files] == ["train", "validation", "test"]


def test_of_two_that_send_the_same_piece_one_is_told_to_look_again(
    project: Project, erin: User
) -> None:
    client: Any = api_of(erin)
    url = begin(client)
    send(client, url, 0, TABLE[:100])
    again = send(client, url, 0, TABLE[:100])
    assert (again.status_code, again.data["code"]) == (409, "wrong_offset")
    assert client.head(url, **TUS)["Upload-Offset"] == "100"
    assert send(client, url, 100, TABLE[100:] + b"more").status_code == 400
    assert client.head(url, **TUS)["Upload-Offset"] == "100"


def test_a_piece_that_arrives_otherwise_than_it_was_sent_is_not_kept(erin: User) -> None:
    client: Any = api_of(erin)
    url = begin(client)
    for name in ("sha256", "sha1"):
        digest = base64.b64encode(hashlib.new(name, TABLE[:50]).digest()).decode()
        wrong = send(client, url, 0, TABLE[1:51], HTTP_UPLOAD_CHECKSUM=f"{name} {digest}")
        assert wrong.status_code == 460
        assert client.head(url, **TUS)["Upload-Offset"] == "0"
    right = send(client, url, 0, TABLE[:50], HTTP_UPLOAD_CHECKSUM=f"sha1 {digest}")
    assert right.status_code == 204
    for odd in ("md5 abc", "sha256 abc", "sha256"):
        assert send(client, url, 50, b"x", HTTP_UPLOAD_CHECKSUM=odd).status_code == 400


def test_a_file_that_is_not_the_one_announced_becomes_nothing(project: Project, erin: User) -> None:
    client: Any = api_of(erin)
    url = begin(client, sha256="0" * 64)
    send(client, url, 0, TABLE)
    body = {"name": "words", "upload": url.split("/")[-2]}
    answer = client.post(DATASETS, body, format="json")
    assert (answer.status_code, answer.json()["code"]) == (460, "checksum_mismatch")
    assert not DatasetVersion.objects.exists()


def test_an_upload_is_there_for_its_owner_alone(project: Project, erin: User, alice: User) -> None:
    url = begin(api_of(erin))
    send(api_of(erin), url, 0, TABLE)
    other: Any = api_of(alice)
    assert other.get(url).status_code == 404
    assert other.head(url, **TUS).status_code == 404
    assert send(other, url, 0, b"x").status_code == 404
    assert other.delete(url, **TUS).status_code == 404
    body = {"name": "words", "upload": url.split("/")[-2]}
    assert other.post(DATASETS, body, format="json").status_code == 404
    assert other.get(BASE).json()["results"] == []
    assert api_of(erin).get(BASE).json()["results"][0]["received"] == len(TABLE)


def test_it_is_discarded_or_forgotten_after_a_day(erin: User) -> None:
    client: Any = api_of(erin)
    first, second = begin(client), begin(client)
    for url in (first, second):
        send(client, url, 0, TABLE[:9])
    assert client.delete(first, **TUS).status_code == 204
    assert client.head(first, **TUS).status_code == 404
    old = timezone.now() - timedelta(minutes=1)
    ResumableUpload.objects.update(expires_at=old)
    jobs.forget_uploads()
    assert not ResumableUpload.objects.exists()
    assert not list(storage.listing("uploads"))


def test_what_is_under_way_is_bounded(erin: User, settings: LazySettings) -> None:
    settings.DISTILLHUB_MAX_UPLOAD_MIB = 1
    settings.DISTILLHUB_UPLOAD_QUOTA_MIB = 2
    client: Any = api_of(erin)
    mib = 1 << 20

    def asked(size: Any, **headers: str) -> int:
        given = {"HTTP_UPLOAD_LENGTH": str(size)} | TUS | headers
        return int(client.post(BASE, **given).status_code)

    assert asked(mib + 1) == 413
    assert [asked(mib), asked(mib), asked(1)] == [201, 201, 409]
    for odd in ("-1", "1e3", "", "0", "9" * 30):
        assert asked(odd) == 400
    assert asked(5, HTTP_UPLOAD_METADATA="filename not-base64!") == 400
    assert asked(5, HTTP_UPLOAD_METADATA=metadata(sha256="short")) == 400


def test_another_version_of_the_protocol_is_refused_and_this_one_named(erin: User) -> None:
    client: Any = api_of(erin)
    for headers in ({}, {"HTTP_TUS_RESUMABLE": "0.2.2"}):
        answer = client.post(BASE, HTTP_UPLOAD_LENGTH="5", **headers)
        assert (answer.status_code, answer["Tus-Version"]) == (412, "1.0.0")
    able = client.options(BASE)
    assert able.status_code == 204
    assert "creation" in able["Tus-Extension"]
    assert int(able["Tus-Max-Size"]) > 0


def test_bytes_may_come_with_the_creation_and_methods_in_a_header(erin: User) -> None:
    client: Any = api_of(erin)
    made = client.generic("POST", BASE, b"abc", BYTES, HTTP_UPLOAD_LENGTH="6", **TUS)
    assert (made.status_code, made["Upload-Offset"]) == (201, "3")
    url = str(made["Location"]).removeprefix("http://testserver")
    more = client.generic(
        "POST", url, b"def", BYTES,
        HTTP_X_HTTP_METHOD_OVERRIDE="PATCH", HTTP_UPLOAD_OFFSET="3", **TUS,
    )  # fmt: skip
    assert (more.status_code, more["Upload-Offset"]) == (204, "6")


@pytest.mark.parametrize("name", ["../../etc/passwd.csv", "a\\b\\words.csv", "wo\x00rds.csv"])
def test_a_name_is_never_a_path(erin: User, name: str) -> None:
    begin(api_of(erin), filename=name)
    kept = ResumableUpload.objects.get().name
    assert "/" not in kept
    assert "\\" not in kept
    assert kept.isprintable()
