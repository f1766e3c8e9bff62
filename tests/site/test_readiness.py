"""What is away is said by /readyz and on every page; pages answer 503 without the database."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.test import Client

from distillhub.lib import readiness
from projects.models import User
from tests.conftest import signed_in
from tests.site.processes import until

ALL_WELL = {"database": "ok", "broker": "ok", "storage": "ok"}


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    """No answer of before counts, nor one of here afterwards."""
    for part in readiness.PARTS.values():
        part.forget()
    yield
    for part in readiness.PARTS.values():
        part.forget()


@pytest.fixture
def broken_storage(settings: LazySettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder can be made below this")
    settings.MEDIA_ROOT = tmp_path / "file" / "files"


@pytest.fixture
def broken_broker(settings: LazySettings, tmp_path: Path) -> None:
    options = settings.CELERY_BROKER_TRANSPORT_OPTIONS
    settings.CELERY_BROKER_TRANSPORT_OPTIONS = options | {"data_folder_out": str(tmp_path / "gone")}


def test_it_is_ready_when_every_part_is_there(client: Client, db: None) -> None:
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"} | ALL_WELL)
    assert answer.headers["Cache-Control"] == "no-store"


@pytest.mark.usefixtures("broken_storage", "broken_broker")
def test_without_broker_and_storage_it_answers_pages_and_says_what_is_away(
    client: Client, db: None
) -> None:
    away = {"status": "degraded"} | ALL_WELL | {"broker": "away", "storage": "away"}
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()) == (200, away)
    strict = client.get("/readyz?strict=1")
    assert (strict.status_code, strict.json()) == (503, away)
    assert strict.headers["Retry-After"]


@pytest.mark.usefixtures("broken_storage")
def test_a_page_says_what_is_away_and_no_longer_when_it_is_back(
    alice: User, settings: LazySettings, tmp_path: Path
) -> None:
    visitor = signed_in(alice)
    client = Client()
    assert client.get("/readyz").json()["storage"] == "away"
    page = visitor.get("/").content.decode()
    assert "File storage does not answer." in page
    assert "The queue does not answer." not in page
    settings.MEDIA_ROOT = tmp_path / "files"
    readiness.PARTS["storage"].forget()
    assert client.get("/readyz").json()["storage"] == "ok"
    assert "does not answer" not in visitor.get("/").content.decode()
    assert "does not answer" not in client.get("/sign-in/").content.decode()


def test_a_request_never_waits_for_a_part_that_hangs() -> None:
    def hang() -> None:
        time.sleep(1)

    part = readiness.Part(hang, "It hangs.")
    began = time.monotonic()
    assert part.state() == "unknown"
    assert part.state() == "unknown"  # and asks once
    assert time.monotonic() - began < 0.9
    part._asked_at -= readiness.PATIENCE
    assert part.state() == "away"
    until(lambda: part.state() == "ok", seconds=10)


def test_a_part_is_asked_again_only_after_some_time() -> None:
    asked: list[int] = []
    part = readiness.Part(lambda: asked.append(1), "It is away.")
    assert part.state(wait=5) == "ok"
    assert part.state(wait=5) == "ok"
    assert len(asked) == 1
    part._answered_at -= readiness.FRESH
    part.state(wait=5)
    assert len(asked) == 2


def test_a_lost_folder_of_files_is_made_again(client: Client, db: None, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "files", ignore_errors=True)
    assert client.get("/readyz").json()["storage"] == "ok"
