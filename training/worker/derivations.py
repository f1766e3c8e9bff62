"""What the inspection of a derived version needs beside its source: its teacher's files, and the
rows that say what to keep."""

from pathlib import Path
from typing import Any

from projects.models import ModelVersion
from projects.services import datasets, registry
from training.worker import folders

TEACHER = "teacher"


def place(version: ModelVersion, folder: Path) -> dict[str, Any]:
    """Put them into the job's folder, verified; the part of its `config.json` that names them.
    Empty for a version of another source. Raises storage.Damaged."""
    source = version.source
    if source.get("kind") != "derived":
        return {}
    project = version.model.project
    teacher = registry.resolve(project=project, reference=source["from"])
    folders.place_files(teacher, folder / TEACHER)
    said: dict[str, Any] = {"teacher": {"name": teacher.reference, "path": TEACHER}}
    if source.get("dataset"):
        dataset = datasets.resolve(project=project, reference=source["dataset"])
        said["dataset"] = folders.place_dataset(dataset, folder)
    return said
