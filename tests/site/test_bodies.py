"""What of a request's body is kept, and what is said when the disk has no room for it."""

import asyncio
import resource
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import RequestAborted, RequestDataTooBig
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from distillhub.lib import uploads
from distillhub.lib.places import Away
from projects.models import Dataset, Project, StagedUpload, User
from tests.conftest import api_of

ROOM = 2 << 20
TABLE = b"text,label\n" + b"some words about nothing,spam\nothers about it,ham\n" * 100_000
FULL = "The disk of the storage is full. Free some space."


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file of this process may be longer than ROOM: a full disk, without rights to make one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Neither the body nor its file."""
    folder = Path(settings.FILE_UPLOAD_TEMP_DIR)
    before = set(folder.iterdir())
    yield
    assert set(folder.iterdir()) == before


def file() -> SimpleUploadedFile:
    return SimpleUploadedFile("table.csv", TABLE)


def test_an_upload_that_the_disk_has_no_room_for_is_refused_in_a_sentence(
    project: Project, erin: User, full_disk: None
) -> None:
    address = f"/api/v1/projects/{project.slug}/datasets/"
    answer = api_of(erin).post(address, {"name": "big", "file": file()}, format="multipart")
    assert (answer.status_code, answer.json()["code"]) == (503, "disk_full")
    assert answer.json()["detail"] == FULL
    assert answer.headers["Retry-After"]
    assert not Dataset.objects.exists()
    assert not StagedUpload.objects.exists()


@pytest.mark.parametrize("checks", [False, True], ids=["in the view", "before the view"])
def test_the_page_says_so_too(project: Project, erin: User, full_disk: None, checks: bool) -> None:
    client = Client(enforce_csrf_checks=checks, raise_request_exception=False)
    client.force_login(erin)
    client.get(f"/p/{project.slug}/datasets/new/")  # for the cookie that is compared with the form
    page = client.post(f"/p/{project.slug}/datasets/new/", {"file": file()})
    assert page.status_code == 503
    assert FULL in page.content.decode()
    assert page.headers["Retry-After"]


# -- as the server hands it on -------------------------------------------------------------------


def read(body: bytes, *, until: int | None = None) -> Any:
    """What the handler makes of a body that comes in pieces, or stops coming."""
    pieces = [body[begin : begin + 65_536] for begin in range(0, len(body), 65_536)]
    told: list[dict[str, Any]] = [
        {"type": "http.request", "body": piece, "more_body": place < len(pieces) - 1}
        for place, piece in enumerate(pieces)
    ]
    if until is not None:
        told[until:] = [{"type": "http.disconnect"}]
    left = iter(told)

    async def receive() -> dict[str, Any]:
        return next(left)

    with ThreadPoolExecutor(1) as apart:  # a browser's tests leave a loop running in this thread
        found = apart.submit(asyncio.run, uploads.Handler().read_body(receive)).result()
    assert next(left, None) is None  # all of it was taken from the wire
    return found


def test_a_body_waits_in_the_home_folder_and_not_in_the_systems() -> None:
    with read(TABLE) as body:
        assert body.read() == TABLE
        assert (
            Path(f"/proc/self/fd/{body.fileno()}")
            .readlink()
            .is_relative_to(settings.FILE_UPLOAD_TEMP_DIR)
        )
    assert tempfile.gettempdir() != str(settings.FILE_UPLOAD_TEMP_DIR)


def test_a_body_that_the_disk_has_no_room_for_is_told_to_whoever_reads_it(
    full_disk: None,
) -> None:
    with read(TABLE) as body, pytest.raises(Away, match="full"):
        body.read(10)


def test_a_body_larger_than_any_upload_is_not_kept(
    settings: Any, project: Project, erin: User
) -> None:
    settings.DISTILLHUB_MAX_UPLOAD_MIB = 1
    body = bytes(uploads.most_bytes() + 1)
    with read(body) as kept, pytest.raises(RequestDataTooBig):
        kept.read()


def test_who_hangs_up_leaves_nothing() -> None:
    with pytest.raises(RequestAborted):
        read(TABLE, until=40)
