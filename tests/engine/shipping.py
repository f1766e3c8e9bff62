"""Exports of tiny models, as a worker would have them made."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.engine import jobs
from training.engine import exporting, networks
from training.engine.networks import Network

TEXT, IMAGE = "text-classification", "image-classification"


def write(
    folder: Path,
    model: Path,
    dataset: jobs.JSON,
    wish: jobs.JSON,
    teacher: Path | None = None,
    **others: Any,
) -> Path:
    """A job folder with its config.json."""
    folder.mkdir(parents=True, exist_ok=True)
    said = json.loads((model / "distillhub.json").read_text())
    raw: jobs.JSON = {
        "format": 1,
        "task": said["task"],
        "model": {"name": "tiny@2", "path": str(model)},
        "dataset": dataset,
        "export": wish,
        "threads": 1,
        **others,
    }
    if teacher is not None:
        raw["teacher"] = {"name": "big@1", "path": str(teacher)}
    (folder / "config.json").write_text(json.dumps(raw))
    return folder


def ship(
    folder: Path, model: Path, dataset: jobs.JSON, wish: jobs.JSON, **others: Any
) -> jobs.JSON:
    """Export in this process: the report, with the names of the files. The race is short: tests
    look at answers."""
    write(folder, model, dataset, wish, **others)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exporting, "SECONDS", 0.02)
        found = exporting.export(folder)
    return {**found["report"], "files": [one["name"] for one in found["files"]]}


def load(folder: Path, task: str) -> Network:
    network = networks.load("tiny@2", folder, task)
    network.module.eval()
    return network
