"""Making exports: one is written, opened again and measured. One at a time on a machine: two would
measure each other's speed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from projects.models import ModelVersion
from training import catalog
from training.models import Export, Run
from training.worker import folders, machine, teacher_store, work_announcements
from training.worker.work import Columns, Work


class Making(Work[Export]):
    model = Export
    job, names, verb = "training.make_export", "export_id", "export"
    related = ("version__model", "dataset_version", "teacher__model", "created_by")

    def prepare(self, row: Export, folder: Path) -> Columns:
        folders.place_files(row.version, folder / "inputs/model")
        teacher = None
        if row.teacher is not None:
            folders.place_files(row.teacher, folder / "inputs/teacher")
            teacher = {"name": row.teacher.reference, "path": "inputs/teacher"}
        return {
            "format": folders.FORMAT,
            "task": row.version.model.task,
            "model": {"name": row.version.reference, "path": "inputs/model"},
            "teacher": teacher,
            "store": str(teacher_store.folder()),
            "dataset": folders.place_dataset(row.dataset_version, folder),
            "export": row.wish,
            "threads": settings.DISTILLHUB_RUN_THREADS,
            "machine": folders.machine_told(),
        }

    def found(self, row: Export, result: Mapping[str, Any], folder: Path) -> Columns:
        files = folders.store_files(result["files"], folder / "output")
        # Its speed is that of this machine, and is to be compared with no other's.
        facts = machine.facts()
        here = {name: facts[name] for name in ("cpu", "cpus", "memory_bytes", "platform")}
        return {"files": files, "report": result["report"] | {"machine": here}}

    def announce(self, row: Export) -> None:
        work_announcements.announce(
            "export",
            row,
            f"{row.version.reference} as {row.format}",
            format=row.format,
            bytes=row.size_bytes if row.files else None,
        )


WORK = Making()


def queue(run: Run, version: ModelVersion) -> None:
    """The exports that a run's configuration asks for, of the version it made; with it or not at
    all. Its teacher is for compressors, and these have none."""
    for key in dict.fromkeys(run.config.get("exports", [])):
        export = Export.objects.create(
            version=version,
            format=key,
            options={one["name"]: one["default"] for one in catalog.options("exporters", key)},
            dataset_version=run.data,
            created_by=run.created_by,
        )
        WORK.wake(export)
