"""Whole runs on sounds and on tables: from the upload to a student that learned from a teacher."""

from typing import Any

import numpy as np
import pytest

from projects.models import Project
from tests import make
from tests.projects.test_dataset_versions import uploaded
from tests.projects.test_ingest_audio import sound
from tests.projects.test_ingest_images import archive
from training.models import Run
from training.services import launching
from training.worker import folders
from training.worker import runs as working

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("worker"),
    pytest.mark.slow,
]


def done(project: Project, **asked: Any) -> Run:
    """The run after a worker has carried it out."""
    run = launching.launch(project=project, configuration=asked, by=project.created_by)
    working.execute(run.pk)
    run.refresh_from_db()
    assert (run.status, run.error) == ("finished", None)
    return run


def test_a_number_is_learned_from_a_table_and_from_a_teacher(project: Project) -> None:
    chance = np.random.default_rng(0)
    lines = ["size,place,price"]
    for row in range(200):
        size, place = float(chance.uniform(20, 200)), ["north", "south"][row % 2]
        lines.append(f"{size:.1f},{place},{3 * size + 100 * (row % 2):.2f}")
    version = uploaded(project, "\n".join(lines).encode(), name="flats")
    assert (version.problem, version.dataset.task) == ("regression", "tabular-classification")
    shared = {"task": version.dataset.task, "architecture": "tabular_mlp"}
    make.model_version(project, "big", role="teacher", config={"hidden": [32]}, **shared)
    make.model_version(project, "small", config={"hidden": [4], "embedding": 1}, **shared)
    training = {"epochs": 40, "batch_size": 32, "learning_rate": 0.02}
    told = {"task": version.dataset.task, "dataset": "flats@1", "training": training}
    first = done(project, **told, student="big@1")
    assert first.output is not None
    assert (first.output.problem, first.output.labels) == ("regression", [])
    assert first.output.is_trained
    assert first.summary["student"]["r2"] > 0.8
    mse = [{"kind": "logit_mse", "weight": 1.0}]
    second = done(project, **told, student="small@1", teachers=["big@2"], losses=mse, control=False)
    assert second.summary["student"]["r2"] > 0.5
    described = folders.read_json(folders.of(second.pk) / "config.json")["dataset"]
    assert described["columns"] == {"size": "numeric", "place": "categorical"}
    assert described["problem"] == "regression"


def test_sounds_are_learned_from_a_teacher(project: Project) -> None:
    files = [
        (f"{label}/{n}.wav", sound(0.1 + n % 5 / 100, hertz=hertz + 7 * (n % 9), rate=4000))
        for label, hertz in (("low", 300), ("middle", 700), ("high", 1300))
        for n in range(30)
    ]
    version = uploaded(project, archive(*files).getvalue(), name="tones")
    shared = {"task": version.dataset.task, "architecture": "spectrogram_convnet"}
    mels = {"mels": 16}
    make.model_version(project, "big", role="teacher", config={"channels": [16], **mels}, **shared)
    make.model_version(project, "small", config={"channels": [4], **mels}, **shared)
    training = {"epochs": 10, "batch_size": 16, "learning_rate": 0.02}
    told = {"task": version.dataset.task, "dataset": "tones@1", "training": training}
    first = done(project, **told, student="big@1")
    assert first.summary["student"]["accuracy"] > 0.8
    second = done(project, **told, student="small@1", teachers=["big@2"], control=False)
    assert second.output is not None
    assert second.output.labels == ["high", "low", "middle"]
    assert second.summary["compression"] > 1
