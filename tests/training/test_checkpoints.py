"""Checkpoints in storage: kept while a run trains, and gone on from by another machine."""

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.conf import LazySettings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.utils import timezone

from distillhub.lib import storage
from projects.models import DatasetVersion, ModelVersion, Project
from tests.conftest import api_of
from tests.site.buckets import use_s3
from tests.site.processes import free_port
from tests.training.conftest import launch
from tests.training.test_execute import child_of, steps_once, weights_of
from training.models import Checkpoint, Run, Worker
from training.services import logs, runs
from training.worker import checkpoints, claims, folders, machine, takeover
from training.worker import runs as working
from training.worker.checkpoints import Keeper

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]

#: Long enough to be met in the middle.
LONG = {"epochs": 160, "batch_size": 8, "checkpoint_every_steps": 25}  # some seconds


@pytest.fixture(params=["folder", "s3"])
def shared(
    request: pytest.FixtureRequest, settings: LazySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Storage that several homes have in common, with every checkpoint in it."""
    settings.DISTILLHUB_SHARE_CHECKPOINTS = "always"
    settings.DISTILLHUB_SHARE_CHECKPOINTS_SECONDS = 0
    if request.param == "s3":
        use_s3(request.getfixturevalue("s3_server"), settings, monkeypatch)


@pytest.fixture
def kept(settings: LazySettings, held: claims.Held) -> Iterator[Keeper]:
    settings.DISTILLHUB_SHARE_CHECKPOINTS = "always"
    settings.DISTILLHUB_SHARE_CHECKPOINTS_SECONDS = 0
    folder = folders.of(held.run.pk)
    folder.mkdir(parents=True)
    keeper = Keeper(held, folder)
    yield keeper
    keeper.end()


def saved(folder: Path, step: int, **files: bytes) -> dict[str, Any]:
    """A checkpoint as the engine leaves it, without an engine; its event."""
    place = folder / "checkpoints" / f"{step:09d}"
    place.mkdir(parents=True)
    files = {"model": f"weights of {step}".encode(), "best": b"the best so far"} | files
    said = {}
    for name, content in files.items():
        (place / name).write_bytes(content)
        said[name] = {"sha256": storage.digest(place / name), "bytes": len(content)}
    (place / "manifest.json").write_text(json.dumps({"files": said, "step": step}))
    return {"type": "saved", "kind": "checkpoint", "step": step}


def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def stored_steps(run: Run) -> list[int]:
    return list(run.checkpoints.values_list("step", flat=True))


@pytest.mark.slow
def test_another_home_goes_on_from_storage_bit_for_bit(
    shared: None,
    project: Project,
    dataset: DatasetVersion,
    student: ModelVersion,
    settings: LazySettings,
    tmp_path: Path,
) -> None:
    """Two homes, one database, real trainings: the first machine is gone for ever in the middle."""
    undisturbed = launch(project, name="undisturbed", training=LONG)
    working.execute(undisturbed.pk)
    undisturbed.refresh_from_db()
    assert undisturbed.status == "finished", undisturbed.error
    assert not undisturbed.checkpoints.exists()
    assert list(storage.listing("checkpoints")) == []

    run = launch(project, name="disturbed", training=LONG)
    thread = threading.Thread(target=_execute, args=(run.pk,))
    thread.start()
    until(lambda: stored_steps(run), 60)
    child_of(run).send_signal(signal.SIGKILL)
    thread.join(60)
    run.refresh_from_db()
    assert (run.status, run.times_lost) == ("queued", 1), run.error
    newest, reached = max(stored_steps(run)), run.step
    assert newest >= 25

    shutil.rmtree(settings.DISTILLHUB_HOME)
    settings.DISTILLHUB_HOME = tmp_path / "other-home"
    settings.DISTILLHUB_HOME.mkdir()
    Run.objects.update(retry_at=None)
    working.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.attempt) == ("finished", 2), run.error
    told = [event.sentence for event in run.events.all()]
    assert any(f"Continued from step {newest} on" in sentence for sentence in told), told
    assert any(f"step {reached}." in sentence for sentence in told), told
    steps_once(run)
    assert weights_of(run) == weights_of(undisturbed)
    assert run.metrics["test/accuracy"] == undisturbed.metrics["test/accuracy"]
    assert not run.checkpoints.exists()
    assert list(storage.listing("checkpoints")) == []


def _execute(run_id: int) -> None:
    try:
        working.execute(run_id)
    finally:
        connection.close()


def test_the_newest_three_are_kept_and_the_files_of_others_freed(
    kept: Keeper, held: claims.Held
) -> None:
    for step in (10, 20, 30, 40):
        kept.saw([saved(kept.folder, step)])
        until(partial(_is_stored, held.run, step))
    assert stored_steps(held.run) == [40, 30, 20]
    named = {file["sha256"] for one in held.run.checkpoints.all() for file in one.files}
    until(lambda: {one.name.rpartition("/")[2] for one in storage.listing("checkpoints")} == named)
    newest = held.run.checkpoints.first()
    assert newest is not None
    assert newest.room == f"checkpoints/{held.run.pk}/{held.attempt}"
    assert newest.made_by == held.run.worker.name  # type: ignore[union-attr]
    checkpoints.free(held.run)
    assert list(storage.listing("checkpoints")) == []


def _is_stored(run: Run, step: int) -> bool:
    return step in stored_steps(run)


def test_a_slow_storage_gets_the_newest_and_the_last_before_the_run_is_given_back(
    kept: Keeper, held: claims.Held
) -> None:
    kept.every = 3600
    kept.saw([saved(kept.folder, 10)])
    until(lambda: stored_steps(held.run) == [10])
    kept.saw([saved(kept.folder, 20)])
    kept.saw([saved(kept.folder, 30)])
    assert stored_steps(held.run) == [10]
    assert kept.store_last(10.0)
    assert stored_steps(held.run) == [30, 10]


def test_a_checkpoint_that_is_damaged_here_is_not_kept(kept: Keeper, held: claims.Held) -> None:
    event = saved(kept.folder, 10)
    (kept.folder / "checkpoints/000000010/model").write_bytes(b"weights of 11")
    kept.saw([event])
    assert kept.store_last(10.0)
    kept.saw([saved(kept.folder, 20)])
    assert kept.store_last(10.0)
    assert stored_steps(held.run) == [20]


def test_with_storage_away_training_goes_on_and_the_newest_is_kept_when_it_is_back(
    kept: Keeper, held: claims.Held, settings: LazySettings
) -> None:
    """A file in the place of the folder: nothing can be written there."""
    Path(settings.MEDIA_ROOT).mkdir(parents=True)
    stone = Path(settings.MEDIA_ROOT) / "checkpoints"
    stone.write_bytes(b"")
    kept.saw([saved(kept.folder, 10)])
    until(lambda: "Training goes on" in said(held.run))
    kept.saw([saved(kept.folder, 20)])
    stone.unlink()
    until(lambda: stored_steps(held.run) == [20])
    until(lambda: "kept in storage again" in said(held.run))
    assert said(held.run).count("Training goes on") == 1


def said(run: Run) -> str:
    return "\n".join(line["text"] for line in logs.last(run=run)["lines"])


def test_a_worker_that_was_thawed_too_late_writes_no_row(kept: Keeper, held: claims.Held) -> None:
    Run.objects.filter(pk=held.run.pk).update(attempt=held.attempt + 1)
    kept.saw([saved(kept.folder, 10)])
    until(lambda: not kept.is_alive())
    assert not Checkpoint.objects.exists()


def test_the_newest_whole_one_is_fetched_and_others_are_named(
    kept: Keeper, held: claims.Held, settings: LazySettings, tmp_path: Path
) -> None:
    (kept.folder / "stages/0").mkdir(parents=True)
    (kept.folder / "stages/0/model.safetensors").write_bytes(b"an earlier stage")
    for step in (10, 20, 30):
        kept.saw([saved(kept.folder, step)])
        assert kept.store_last(10.0)
    newest, older, _ = held.run.checkpoints.all()
    spoil(newest, "checkpoints/000000030/model", b"weights of 31")
    place = Path(settings.MEDIA_ROOT) / older.room / digest_of(older, "checkpoints/000000020/model")
    place.unlink()
    found, passed = checkpoints.fetch(held, tmp_path / "job")
    assert found is not None
    assert found.step == 10
    assert [sentence.partition(" is not used")[0] for sentence in passed] == [
        "The stored checkpoint of step 30",
        "The stored checkpoint of step 20",
    ]
    assert [one.name for one in (tmp_path / "job/checkpoints").iterdir()] == ["000000010"]
    stage = tmp_path / "job/stages/0/model.safetensors"
    assert stage.read_bytes() == b"an earlier stage"
    checkpoints.forget_newer(held.run, 10)
    assert stored_steps(held.run) == [10]


def digest_of(kept: Checkpoint, name: str) -> str:
    return str(next(file["sha256"] for file in kept.files if file["name"] == name))


def spoil(kept: Checkpoint, name: str, content: bytes) -> None:
    from django.conf import settings

    path = Path(settings.MEDIA_ROOT) / kept.room / digest_of(kept, name)
    path.chmod(0o644)
    path.write_bytes(content)


def test_whose_own_checkpoints_are_damaged_goes_on_from_storage(
    kept: Keeper, held: claims.Held
) -> None:
    kept.saw([saved(kept.folder, 10)])
    assert kept.store_last(10.0)
    (kept.folder / "journal.jsonl").write_text('{"seq": 1, "type": "resumed", "step": 0}\n')
    Run.objects.update(job_home=machine.home_id(), step=15)
    held.run.refresh_from_db()
    assert checkpoints.is_sound(kept.folder)
    (kept.folder / "checkpoints/000000010/best").write_bytes(b"the best so fax")
    assert not checkpoints.is_sound(kept.folder)
    shutil.rmtree(kept.folder / "checkpoints")
    assert takeover.own_folder(held) == kept.folder
    assert checkpoints.is_sound(kept.folder)
    assert any("was fetched from storage" in one.sentence for one in held.run.events.all())


def test_a_run_that_begins_again_forgets_them(kept: Keeper, held: claims.Held) -> None:
    kept.saw([saved(kept.folder, 10)])
    assert kept.store_last(10.0)
    run = held.run
    run.move_to(Run.Status.FAILED, among=Run.LEASED, error={"code": "crashed"}, lease_until=None)
    runs.retry(run=run, by=run.created_by)
    assert stored_steps(run) == [10]
    run.move_to(Run.Status.FAILED, among=[Run.Status.QUEUED], error={"code": "crashed"})
    runs.retry(run=run, beginning=True, by=run.created_by)
    assert stored_steps(run) == []
    assert list(storage.listing("checkpoints")) == []


def test_sharing_is_for_installations_of_several_machines(
    settings: LazySettings, worker: Worker, tmp_path: Path
) -> None:
    assert not checkpoints.shares()
    Worker.objects.create(
        name="elsewhere:1", host="elsewhere", pid=1, machine={"home": "x"}, seen_at=timezone.now()
    )
    assert checkpoints.shares()
    Worker.objects.filter(name="elsewhere:1").update(seen_at="2020-01-01T00:00:00Z")
    assert not checkpoints.shares()
    settings.DISTILLHUB_FILES = str(tmp_path / "mounted")
    assert checkpoints.shares()
    settings.DISTILLHUB_SHARE_CHECKPOINTS = "off"
    assert not checkpoints.shares()


def test_a_model_that_cannot_be_stored_waits_on_its_machine(
    project: Project,
    dataset: DatasetVersion,
    student: ModelVersion,
    settings: LazySettings,
) -> None:
    """Nothing can be written when the training is over: the run is neither lost nor failed."""
    run = launch(project)
    thread = threading.Thread(target=_execute, args=(run.pk,))
    thread.start()
    until(lambda: (folders.of(run.pk) / "journal.jsonl").exists(), 60)
    blobs = Path(settings.MEDIA_ROOT) / "blobs"
    blobs.rename(blobs.with_name("moved"))
    blobs.write_bytes(b"")
    until(lambda: run.events.filter(kind="storage").exists(), 60)
    sentence = run.events.get(kind="storage").sentence
    assert sentence.endswith("What it left is kept on its machine until then.")
    assert str(settings.MEDIA_ROOT) not in sentence
    blobs.unlink()
    blobs.with_name("moved").rename(blobs)
    thread.join(60)
    run.refresh_from_db()
    assert (run.status, run.error) == ("finished", None)
    steps_once(run)


def test_inputs_that_cannot_be_fetched_are_tried_again(
    project: Project, dataset: DatasetVersion, student: ModelVersion, settings: LazySettings
) -> None:
    """A bucket that nobody serves just now: the run is neither failed nor counted as lost."""
    run = launch(project)
    options = {
        "bucket_name": "away",
        "endpoint_url": f"http://127.0.0.1:{free_port()}",
        "region_name": "us-east-1",
        "access_key": "tests",
        "secret_key": "tests",
    }
    settings.STORAGES = settings.STORAGES | {
        "default": {"BACKEND": "storages.backends.s3.S3Storage", "OPTIONS": options}
    }
    working.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.times_lost, run.error) == ("queued", 0, None)
    assert run.retry_at is not None
    told = run.events.order_by("-pk")[0].sentence
    assert told.startswith("The bucket away does not answer")
    assert told.endswith("It is tried again every minute.")


def test_an_upload_that_cannot_be_stored_says_so_plainly(
    project: Project, settings: LazySettings, tmp_path: Path
) -> None:
    """The upload is refused with a sentence that names no path, and may be sent again."""
    settings.MEDIA_ROOT = tmp_path / "stone"
    settings.MEDIA_ROOT.write_bytes(b"")
    table = SimpleUploadedFile("rows.csv", b"text,label\nhello,yes\ngoodbye,no\n")
    address = f"/api/v1/projects/{project.slug}/datasets/"
    answer = api_of(project.created_by).post(
        address, {"name": "rows", "task": "text-classification", "file": table}, format="multipart"
    )
    assert answer.status_code == 503, answer.content
    body = answer.json()
    assert body["code"] == "storage_away"
    assert body["detail"].startswith("The storage cannot be written to")
    assert str(tmp_path) not in body["detail"]
    assert answer["Retry-After"] == "30"
