"""Exports as workers make them: a child process writes and measures."""

import threading
from typing import Any

import pytest
from django.db import connection

from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from tests.training.conftest import launch
from training import jobs
from training.models import Export
from training.services import exports
from training.worker import dispatch, machine
from training.worker import exports as making
from training.worker import runs as working

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


def test_a_run_that_makes_no_version_ships_nothing(
    project: Project, dataset: DatasetVersion, told: list[int]
) -> None:
    run = make.run(project, dataset_version=dataset)
    run.config["exports"] = []
    made = make.model_version(project, "made", labels=["no", "yes"])
    making.queue(run, made)
    assert told == []
    assert not Export.objects.exists()
