"""Exports as workers make them: a child process writes and measures, the row owns the work."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from distillhub.lib import storage
from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from tests.training.conftest import launch
from training import jobs
from training.models import Export
from training.services import exports
from training.worker import dispatch, machine, reaper, registration
from training.worker import exports as making
from training.worker import runs as working
from training.worker.work import MOST_LOSSES

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The exports that workers are told of; no broker carries it."""
    found: list[int] = []

    def note(job: str, **ids: Any) -> bool:
        if job == making.WORK.job:
            found.append(ids["export_id"])
        return True

    monkeypatch.setattr(dispatch, "call", note)
    return found


@pytest.fixture
def version(project: Project) -> ModelVersion:
    """A version whose file is not in storage."""
    file = {"name": "model.safetensors", "sha256": "a" * 64, "bytes": 4}
    return make.model_version(project, "lost", labels=["no", "yes"], files=[file])


def queued(version: ModelVersion, dataset: DatasetVersion, **fields: Any) -> Export:
    defaults = {"status": "queued", "report": None, "finished_at": None, "format": "safetensors"}
    return make.export(version, dataset, **defaults | {"options": {}} | fields)


def test_a_run_ships_what_it_was_asked_to(
    project: Project, dataset: DatasetVersion, student: ModelVersion, told: list[int]
) -> None:
    run = launch(project, exports=["safetensors"])
    carrying = threading.Thread(target=_carry_out, args=(run.pk,))
    carrying.start()
    carrying.join(120)
    run.refresh_from_db()
    assert run.status == "finished", run.error
    export = Export.objects.get()
    assert told == [export.pk]
    assert (export.version, export.dataset_version) == (run.output, dataset)

    jobs.make_export(export_id=export.pk)
    export.refresh_from_db()
    assert export.status == "ready", export.error
    assert export.report is not None
    assert export.report["agreement"] == 1.0
    assert export.report["rows"] == 30  # the validation rows
    assert export.report["metric"]["before"] == run.metrics["val/accuracy"]
    assert (export.attempt, export.stage, export.lease_until) == (1, "", None)
    assert run.output is not None
    assert {one["name"] for one in export.files} == {one["name"] for one in run.output.files}
    for _, opened in exports.files(export=export):
        with opened() as stream:
            assert stream.read(1)
    assert not list(machine.home().glob("export-*"))


def _carry_out(run_id: int) -> None:
    try:
        working.execute(run_id)
    finally:
        connection.close()


def test_what_is_damaged_is_told(version: ModelVersion, dataset: DatasetVersion) -> None:
    export = queued(version, dataset)
    making.WORK.carry_out(export.pk)
    export.refresh_from_db()
    assert export.status == "failed"
    assert export.error is not None
    assert export.error["code"] == "damaged"
    assert not list(machine.home().glob("export-*"))


def test_one_call_makes_all_that_waits(version: ModelVersion, dataset: DatasetVersion) -> None:
    waiting = [queued(version, dataset) for _ in range(3)]
    making.WORK.carry_out(waiting[1].pk)
    assert {export.status for export in Export.objects.all()} == {"failed"}
    assert {export.attempt for export in Export.objects.all()} == {1}


def test_a_call_about_what_is_made_already_changes_nothing(
    version: ModelVersion, dataset: DatasetVersion
) -> None:
    ready = make.export(version, dataset)
    held = queued(
        version, dataset, status="working", attempt=1,
        lease_until=timezone.now() + timedelta(seconds=30),
    )  # fmt: skip
    for export in (ready, held):
        before = Export.objects.values().get(pk=export.pk)
        making.WORK.carry_out(export.pk)
        assert Export.objects.values().get(pk=export.pk) == before


def test_two_processes_of_a_machine_do_not_measure_each_other(
    version: ModelVersion, dataset: DatasetVersion
) -> None:
    export = queued(version, dataset)
    with machine.alone(machine.home() / "export.lock") as alone:
        assert alone
        making.WORK.carry_out(export.pk)
        export.refresh_from_db()
        assert export.status == "queued"


def test_an_export_whose_worker_died_is_made_by_another(
    version: ModelVersion, dataset: DatasetVersion, told: list[int]
) -> None:
    gone = {"status": "working", "lease_until": timezone.now() - timedelta(seconds=1)}
    lost = queued(version, dataset, attempt=1, **gone)
    poison = queued(version, dataset, attempt=3, times_lost=MOST_LOSSES - 1, **gone)
    reaper.reap()
    assert set(told) == {lost.pk, poison.pk}
    for export in (lost, poison):
        making.WORK.carry_out(export.pk)
        export.refresh_from_db()
    assert (lost.times_lost, lost.attempt) == (1, 2)
    assert lost.error is not None
    assert lost.error["code"] == "damaged"  # it was tried
    assert poison.error is not None
    assert poison.error["code"] == "lost"  # it was not


def test_a_lost_message_is_sent_again(
    version: ModelVersion, dataset: DatasetVersion, told: list[int]
) -> None:
    fresh, old = queued(version, dataset), queued(version, dataset)
    Export.objects.filter(pk=old.pk).update(queued_at=timezone.now() - timedelta(minutes=1))
    reaper.reap()
    assert told == [old.pk]
    assert fresh.pk not in told


def test_a_worker_that_leaves_puts_it_back(
    version: ModelVersion, dataset: DatasetVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    blob = storage.put(path)
    version.files = [{"name": "model.safetensors", "sha256": blob.sha256, "bytes": blob.bytes}]
    version.save()
    export = queued(version, dataset)
    claimed = making.WORK.claim(export.pk)
    assert claimed is not None
    registration.stopping.set()
    making.WORK.attempt(claimed)
    export.refresh_from_db()
    assert (export.status, export.lease_until, export.times_lost) == ("queued", None, 0)


def test_a_stale_worker_writes_nothing(version: ModelVersion, dataset: DatasetVersion) -> None:
    export = queued(version, dataset)
    stale = making.WORK.claim(export.pk)
    assert stale is not None
    Export.objects.filter(pk=export.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    other = making.WORK.claim(export.pk)
    assert other is not None
    assert other.attempt == 2
    making.WORK.attempt(stale)
    export.refresh_from_db()
    assert (export.status, export.error) == ("working", None)


def test_a_run_that_makes_no_version_ships_nothing(
    project: Project, dataset: DatasetVersion, told: list[int]
) -> None:
    run = make.run(project, dataset_version=dataset)
    run.config["exports"] = []
    made = make.model_version(project, "made", labels=["no", "yes"])
    making.queue(run, made)
    assert told == []
    assert not Export.objects.exists()
