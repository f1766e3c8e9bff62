"""A worker fits the reference of a student of the project, whose teacher has weights: by the real
child, the same every time, whatever happened to the worker before."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from django.db.models.functions import Now

from distillhub.lib import storage
from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from tests.engine import jobs
from tests.training.conftest import sentences, stored_dataset
from tests.training.test_monitor_looks import BEGAN, look, send
from training.models import Monitor
from training.services import monitors
from training.worker import dispatch
from training.worker import monitors as looking

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("worker")]


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "call", lambda job, **ids: True)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model that learned to tell sentences apart."""
    folder = tmp_path_factory.mktemp("weights")
    rows = sentences(300)
    path = folder / "data.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path)
    labels = sorted({one["label"] for one in rows})
    described = {"path": str(path), "sha256": "", "fingerprint": "sentences", "labels": labels}
    job = jobs.write(folder / "job", described, training={"epochs": 6})
    jobs.run(job)
    return job / "output/model"


def version(project: Project, name: str, weights: Path, labels: list[str]) -> ModelVersion:
    files = []
    for path in sorted(weights.iterdir()):
        copy = storage.working_folder("copying") / path.name  # which storage keeps
        copy.write_bytes(path.read_bytes())
        blob = storage.put(copy)
        files.append({"name": path.name, "sha256": blob.sha256, "bytes": blob.bytes})
    return make.model_version(project, name, files=files, labels=labels)


@pytest.fixture
def monitor(project: Project, tmp_path: Path, weights: Path) -> Monitor:
    dataset: DatasetVersion = stored_dataset(project, tmp_path, sentences(300))
    labels = list(dataset.labels)
    version(project, "tiny", weights, labels)
    version(project, "big", weights, labels)
    return monitors.create(
        project=project,
        asked={
            "name": "live", "model": "tiny@1", "reference": "tickets@1:test",
            "window": {"rows": 60}, "teacher": "big@1", "teacher_sample_rate": 0.5,
        },
        by=project.created_by,
    )  # fmt: skip


def test_a_fit_that_a_dead_worker_left_is_begun_again_and_comes_to_the_same(
    monitor: Monitor,
) -> None:
    one = monitor.looks.get(fits=True)
    assert looking.WORK.claim(one.pk) is not None
    monitor.looks.update(lease_until=Now())  # its worker is gone
    looking.WORK.carry_out(one.pk)
    one.refresh_from_db()
    assert (one.status, one.error, one.times_lost) == ("ready", None, 1)
    monitor.refresh_from_db()
    told, files = monitor.reference, monitor.reference_files
    assert told["agreement"]["value"] == 1  # they have the same weights
    assert told["accuracy"]["value"] > 0.9
    assert (told["made_by"], told["notes"]) == ("tiny@1", [])
    assert {one["name"] for one in files} == {
        "baseline.json", "reference_rows.parquet", "vectors_plane.npz",
    }  # fmt: skip
    monitor.looks.all().delete()
    monitors.refit(monitor=monitor, by=monitor.created_by)
    again = look(monitor, fits=True)
    assert again.reference_files == files
    assert {**again.reference, "seconds": 0} == {**told, "seconds": 0}


def test_a_teacher_with_weights_answers_a_sample_in_the_look_itself(monitor: Monitor) -> None:
    look(monitor, fits=True)
    monitor.looks.filter(fits=False).delete()
    rows: list[dict[str, Any]] = [
        {"id": f"r{at}", "time": BEGAN.isoformat(), "input": {"text": one["text"]},
         "prediction": one["label"]}
        for at, one in enumerate(sentences(300)[:60])
    ]  # fmt: skip
    send(monitor, rows)
    look(monitor)
    window = monitor.windows.get()
    assert 15 < window.facts["agreement"]["rows"] < 45
    assert window.facts["agreement"]["value"] > 0.9
    assert monitor.asked == window.facts["rows_with_answer"]
    assert not monitor.questions.exists()
    assert {"vector", "described.out_of_vocabulary", "agreement"} <= set(window.scores)
    assert window.scores["vector"][0]["value"] is not None
    far = window.facts["foreign"]
    assert all(0 <= distance <= 2 for _, distance in far)
