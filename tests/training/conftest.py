"""Real rows with real files, small enough that a whole training takes a few seconds."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from distillhub.lib import leases, storage
from projects.models import DatasetVersion, ModelVersion, Project
from tests import make
from training.models import Run, Worker
from training.services import launching
from training.worker import claims, registration

WORDS = {
    "billing": ["invoice", "refund", "charge", "payment", "price", "card"],
    "delivery": ["parcel", "courier", "late", "address", "tracking", "box"],
    "account": ["password", "login", "email", "profile", "locked", "name"],
}
FILLER = ["the", "my", "a", "please", "is", "was", "i", "need", "help", "with", "about"]


def sentences(rows: int, seed: int = 0) -> list[dict[str, Any]]:
    """Rows whose label a small network can learn from a few words."""
    chance = random.Random(seed)
    made = []
    for row in range(rows):
        label = chance.choice(sorted(WORDS))
        words = chance.sample(FILLER, 4) + chance.sample(WORDS[label], 2)
        chance.shuffle(words)
        split = "test" if row % 10 == 9 else "validation" if row % 10 == 8 else "train"
        made.append(
            {
                "row_id": row,
                "split": split,
                "label": label,
                "text": " ".join(words),
                "source": str(row + 2),
            }
        )
    return made


@pytest.fixture
def dataset(project: Project, tmp_path: Path) -> DatasetVersion:
    """Three hundred sentences of three kinds, with their Parquet file in storage."""
    return stored_dataset(project, tmp_path, sentences(300))


def stored_dataset(project: Project, folder: Path, rows: list[dict[str, Any]]) -> DatasetVersion:
    path = folder / "rows.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path, compression="zstd")
    blob = storage.put(path)
    labels = tuple(sorted({row["label"] for row in rows if row["label"] is not None}))
    splits = {
        name: {
            "rows": sum(row["split"] == name for row in rows),
            "labelled": sum(row["split"] == name and row["label"] is not None for row in rows),
            "label_counts": {},
        }
        for name in ("train", "validation", "test")
    }
    return make.dataset_version(
        project,
        "tickets",
        labels=labels,
        splits=splits,
        rows=len(rows),
        file_sha256=blob.sha256,
        file_bytes=blob.bytes,
        fingerprint=blob.sha256,
    )


@pytest.fixture
def student(project: Project) -> ModelVersion:
    return make.model_version(project, "tiny", config=SMALL)


@pytest.fixture
def teacher(project: Project) -> ModelVersion:
    return make.model_version(project, "big", role="teacher", config=SMALL | {"dim": 32})


SMALL: dict[str, Any] = {"dim": 8, "vocabulary": 300}


def asked(**changes: Any) -> dict[str, Any]:
    """A run configuration that trains in about a second."""
    training = {"epochs": 3, "batch_size": 32, "learning_rate": 0.01, "checkpoint_every_steps": 10}
    return {
        "task": "text-classification",
        "dataset": "tickets@1",
        "student": "tiny@1",
        "training": training | changes.pop("training", {}),
        **changes,
    }


@pytest.fixture
def taught(
    project: Project, dataset: DatasetVersion, student: ModelVersion, teacher: ModelVersion
) -> dict[str, Any]:
    """A configuration with a teacher that has weights, as rows alone."""
    files = [{"name": "model.safetensors", "sha256": "0" * 64, "bytes": 5}]
    ModelVersion.objects.filter(pk=teacher.pk).update(files=files, labels=dataset.labels)
    return asked(teachers=["big@1"])


def launch(project: Project, **changes: Any) -> Run:
    return launching.launch(project=project, configuration=asked(**changes), by=project.created_by)


@pytest.fixture
def worker() -> Iterator[Worker]:
    """This process as a worker, for tests that execute runs."""
    yield registration.start(capacity=1)
    registration.stop()
    leases.stopping.clear()


@pytest.fixture
def held(project: Project, worker: Worker) -> claims.Held:
    """A run that this process has claimed."""
    found = claims.claim(make.run(project).pk, worker)
    assert found is not None
    return found


SMI = """#!/bin/sh
cat "{file}"
"""


@pytest.fixture
def cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two GPUs, as a program `nvidia-smi` tells of them: a file that tests may rewrite."""
    file = tmp_path / "cards.csv"
    file.write_text(
        "0, GPU-aaaa-0000, NVIDIA L4, 23034, 1024, 30, 41, 35.50, 570.10\n"
        "1, GPU-bbbb-1111, NVIDIA L4, 23034, 0, 0, 38, 12.25, 570.10\n"
    )
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(SMI.format(file=file))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return file
