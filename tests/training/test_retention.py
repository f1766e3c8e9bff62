"""What may go, goes, and nothing else does."""

import json
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.apps import apps
from django.conf import LazySettings
from django.db import models
from django.utils import timezone

from distillhub.lib import storage, sweeping
from projects.models import AuditEntry, Project
from tests import make
from training.models import Artifact, Checkpoint, Export, Run, StorageUse
from training.worker import folders, machine, retention

pytestmark = pytest.mark.django_db(transaction=True)

Kind = StorageUse.Kind
LONG_AGO = time.time() - 40 * 86_400


def put(folder: Path, content: bytes, *, old: bool = True, room: str = storage.BLOBS) -> str:
    """A stored file; its sha256."""
    path = folder / f"put-{time.monotonic_ns()}"
    path.write_bytes(content)
    sha256 = storage.put(path, room).sha256
    if old:
        lying = folder / "files" / storage.key(sha256, room)
        os.utime(lying, (LONG_AGO, LONG_AGO))
    return sha256


def there(room: str = storage.BLOBS) -> set[str]:
    return {one.name.rpartition("/")[2] for one in storage.listing(room)}


def test_only_what_nothing_names_for_a_day_is_swept(project: Project, tmp_path: Path) -> None:
    data, model, artifact, export, orphan = [put(tmp_path, bytes([one])) for one in b"dmaeo"]
    young = put(tmp_path, b"being written", old=False)
    dataset = make.dataset_version(project, "tickets", file_sha256=data)
    version = make.model_version(
        project, "tiny", files=[{"name": "model.safetensors", "sha256": model, "bytes": 1}]
    )
    run = make.run(project)
    Artifact.objects.create(run=run, kind="model", name="x", sha256=artifact, bytes=1)
    Export.objects.create(
        version=version,
        format="onnx",
        dataset_version=dataset,
        created_by=project.created_by,
        files=[{"name": "model.onnx", "sha256": export, "bytes": 1}],
    )
    told = retention.sweep_storage(dry=True)
    assert [name.rpartition("/")[2] for name in told.names] == [orphan]
    assert (told.recent.files, told.freed.files) == (1, 0)
    assert there() == {data, model, artifact, export, orphan, young}

    assert retention.sweep_storage().freed.bytes == 1
    assert there() == {data, model, artifact, export, young}
    assert retention.sweep_storage().freed.files == 0
    use = {one.kind: one for one in StorageUse.objects.filter(home="")}
    assert (use["named"].files, use["recent"].files) == (4, 1)
    assert "orphans" not in use


def test_what_was_stored_again_since_it_was_found_stays(tmp_path: Path, db: None) -> None:
    orphan = put(tmp_path, b"an upload of last year")
    found = retention.sweep_storage(dry=True)
    again = tmp_path / "again"
    again.write_bytes(b"an upload of last year")
    storage.put(again)  # its row is written in a moment
    sweeping.free(found, set())
    assert there() == {orphan}


def test_a_name_that_moved_while_names_were_read_stays(tmp_path: Path, db: None) -> None:
    moved = put(tmp_path, b"from a staged upload to a version")
    found = retention.sweep_storage(dry=True)
    sweeping.free(found, {bytes.fromhex(moved)})
    assert there() == {moved}


def test_storage_of_another_database_is_not_swept(tmp_path: Path, db: None) -> None:
    for number in range(sweeping.SOME + 1):
        put(tmp_path, f"file {number}".encode())
    with pytest.raises(sweeping.Doubtful, match="nothing was freed"):
        retention.sweep_storage()
    assert len(there()) == sweeping.SOME + 1
    retention.sweep_when_possible()  # a line in the log
    assert retention.sweep_storage(even_so=True).freed.files == sweeping.SOME + 1


def test_every_column_that_can_hold_a_name_is_read() -> None:
    """Of whatever model anybody adds: its texts of 64 characters and its JSON."""
    for model in apps.get_models():
        read = set(sweeping._columns(model))
        for field in model._meta.local_concrete_fields:
            if isinstance(field, models.JSONField) or "sha256" in field.name:
                assert field.attname in read, field
    skipped = {apps.get_model(label)._meta.label for label in retention.NAMELESS}
    assert skipped == retention.NAMELESS


def test_checkpoints_of_ended_runs_go_as_their_project_wishes(
    project: Project, tmp_path: Path, settings: LazySettings
) -> None:
    old = timezone.now() - timedelta(days=20)
    runs = {
        status: make.run(project, status=status, finished_at=old)
        for status in ("failed", "cancelled", "finished")
    }
    going = make.run(project, status="queued")
    for run in (*runs.values(), going):
        sha256 = put(tmp_path, b"weights", room=f"checkpoints/{run.pk}/1")
        files = [{"name": "checkpoints/000000010/model", "sha256": sha256, "bytes": 7}]
        Checkpoint.objects.create(run=run, attempt=1, step=10, files=files, bytes=7)
    put(tmp_path, b"of a run that was deleted", room="checkpoints/99/1")

    project.ended_run_days = 0  # for ever
    project.save()
    retention.sweep_storage()
    assert _runs_with_checkpoints() == {runs["failed"].pk, runs["cancelled"].pk, going.pk}
    assert len(list(storage.listing("checkpoints"))) == 3

    project.ended_run_days = 30
    project.save()
    retention.sweep_storage()
    assert len(_runs_with_checkpoints()) == 3
    project.ended_run_days = None  # as this installation does
    project.save()
    retention.sweep_storage()
    assert _runs_with_checkpoints() == {going.pk}
    assert len(list(storage.listing("checkpoints"))) == 1
    (entry,) = AuditEntry.objects.all()  # what finished has no use for its own
    late = {runs["failed"].number, runs["cancelled"].number}
    assert (entry.action, entry.via, entry.actor) == ("storage.free_checkpoints", "worker", "")
    assert (entry.project, set(entry.detail["runs"])) == (project.slug, late)
    assert entry.detail["why"].endswith("for so many days: 14.")


def _runs_with_checkpoints() -> set[int]:
    return set(Checkpoint.objects.values_list("run_id", flat=True))


def test_exports_go_when_there_is_a_limit(project: Project, settings: LazySettings) -> None:
    version = make.model_version(project, "tiny")
    made = {
        days: Export.objects.create(
            version=version,
            format="onnx",
            status="ready",
            dataset_version=make.dataset_version(project, f"data-{days}"),
            created_by=project.created_by,
            finished_at=timezone.now() - timedelta(days=days),
        )
        for days in (1, 50)
    }
    retention.sweep_storage()
    assert Export.objects.count() == 2
    settings.DISTILLHUB_EXPORT_DAYS = 30
    retention.sweep_storage()
    assert Export.objects.get() == made[1]
    retention.sweep_storage()
    (entry,) = AuditEntry.objects.all()
    assert (entry.action, entry.project) == ("export.delete", project.slug)
    assert entry.detail["exports"] == ["tiny@1 onnx"]


@pytest.mark.parametrize(
    ("status", "stays"), [("queued", True), ("working", True), ("ready", False)]
)
def test_an_export_that_is_to_be_sent_to_a_hub_stays_until_it_was(
    project: Project, settings: LazySettings, status: str, stays: bool
) -> None:
    settings.DISTILLHUB_EXPORT_DAYS = 30
    version = make.model_version(project)
    long_ago = timezone.now() - timedelta(days=50)
    export = make.export(version, make.dataset_version(project), finished_at=long_ago)
    make.publication(version, status=status).exports.add(export)
    make.publication(version)  # of none
    retention.sweep_storage()
    assert Export.objects.exists() == stays


def job(run_id: int, *, checkpoint: int = 1000) -> Path:
    """A job folder as a training leaves it."""
    folder = folders.of(run_id)
    (folder / "checkpoints/000000010").mkdir(parents=True)
    (folder / "checkpoints/000000010/model").write_bytes(b"x" * checkpoint)
    (folder / "prepared").mkdir()
    (folder / "journal.jsonl").write_text(json.dumps({"seq": 1, "type": "stage", "name": "x"}))
    (folder / "console-1.log").write_text("hello")
    return folder


def test_job_folders_go_by_how_their_runs_ended(project: Project) -> None:
    now, here = timezone.now(), machine.home_id()
    ages = {"failed": 3, "cancelled": 20, "finished": 3, "training": 0}
    runs = {
        status: make.run(
            project, status=status, job_home=here, finished_at=now - timedelta(days=days)
        )
        for status, days in ages.items()
    }
    ancient = make.run(project, status="finished", finished_at=now - timedelta(days=90))
    made = {status: job(run.pk) for status, run in runs.items()}
    gone, deleted = job(ancient.pk), job(987654)
    os.utime(deleted, (LONG_AGO, LONG_AGO))
    retention.tend()
    assert (made["training"] / "checkpoints").exists()
    assert (made["failed"] / "checkpoints").exists()  # it may be resumed
    for status in ("cancelled", "finished"):
        left = {path.name for path in made[status].iterdir()}
        assert left == {"journal.jsonl", "console-1.log"}
    assert not gone.exists()
    assert not deleted.exists()
    retention.tend()
    (entry,) = AuditEntry.objects.all()  # finished ones cannot be resumed anyway
    assert (entry.action, entry.subject) == (
        "storage.free_checkpoints",
        str(runs["cancelled"].number),
    )
    use = {one.kind: one for one in StorageUse.objects.filter(home=here)}
    assert (use["ended"].files, use["ended"].project) == (1, project)
    assert 1000 < use["ended"].bytes < 1100
    assert (use["running"].files, use["journals"].files) == (1, 2)


def test_who_asks_for_room_gets_it(project: Project) -> None:
    run = make.run(project, status="failed", job_home=machine.home_id(), finished_at=timezone.now())
    folder = job(run.pk)
    other = make.run(project, status="queued", job_home=machine.home_id())
    kept = job(other.pk)
    retention.tend()
    StorageUse.objects.filter(kind="ended").update(unwanted=True)
    retention.look()
    assert not (folder / "checkpoints").exists()
    assert (folder / "journal.jsonl").exists()
    assert (kept / "checkpoints").exists()
    StorageUse.objects.filter(kind="journals").update(unwanted=True)
    retention.look()
    assert not folder.exists()
    assert kept.exists()
    assert not StorageUse.objects.filter(unwanted=True).exists()


def test_a_run_that_went_on_elsewhere_leaves_nothing_here_for_ever(project: Project) -> None:
    run = make.run(project, status="queued", job_home="elsewhere")
    folder = job(run.pk)
    retention.tend()
    assert folder.exists()  # it may come back within the day
    os.utime(folder, (LONG_AGO, LONG_AGO))
    retention.tend()
    assert not folder.exists()


def test_leftovers_of_uploads_go_after_a_day(db: None) -> None:
    folder = storage.working_folder("uploading")
    (folder / "model-old").mkdir()
    (folder / "model-old/weights").write_bytes(b"x")
    os.utime(folder / "model-old", (LONG_AGO, LONG_AGO))
    (folder / "now").write_bytes(b"12345")
    retention.tend()
    assert [path.name for path in folder.iterdir()] == ["now"]
    assert StorageUse.objects.get(kind="passing").bytes == 5


def test_what_storage_has_too_takes_no_room_of_a_job(project: Project, tmp_path: Path) -> None:
    run = make.run(project, status="training", job_home=machine.home_id())
    folder = job(run.pk)
    sha256 = put(tmp_path, b"y" * 50_000)
    storage.local_copy(sha256, folder / "inputs/dataset.parquet")
    retention.tend()
    assert Run.objects.count() == 1
    assert StorageUse.objects.get(kind="running").bytes < 2000


def test_the_command_frees_nothing_unless_it_is_told_to(
    project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from argparse import Namespace

    from distillhub.cli import sweep

    orphan = put(tmp_path, b"12345")
    make.dataset_version(project, "tickets", file_sha256=put(tmp_path, b"123"))
    options = Namespace(free=False, show=20, even_so=False)
    assert sweep.storage(options) == 0
    told = capsys.readouterr().out
    assert "Named by rows: 1 files, 3 bytes" in told
    assert f"blobs/{orphan[:2]}/{orphan}" in told
    assert "Nothing was freed" in told
    assert orphan in there()
    options.free = True
    assert sweep.storage(options) == 0
    assert "Freed: 1 files, 5 bytes" in capsys.readouterr().out
    assert orphan not in there()
