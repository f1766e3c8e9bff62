"""Asking teachers before they teach: one is scored on a dataset. What it says goes into the
machine's store, so that a run there asks nothing again."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection

from training.models import TeacherGate
from training.worker import folders, teacher_store, work_announcements
from training.worker.work import Columns, Work

log = logging.getLogger(__name__)


class Asking(Work[TeacherGate]):
    model = TeacherGate
    job, names, verb = "training.ask_teacher", "gate_id", "gate"
    related = ("version__model", "dataset_version__dataset", "created_by")

    def prepare(self, row: TeacherGate, folder: Path) -> Columns:
        model: Columns = {"name": row.version.reference, "path": "inputs/model"}
        if row.version.is_recorded:
            model = {"name": row.version.reference, "recorded": folders.recorded(row.version)}
        folders.place_files(row.version, folder / "inputs/model")
        return {
            "format": folders.FORMAT,
            "task": row.version.model.task,
            "model": model,
            "dataset": folders.place_dataset(row.dataset_version, folder),
            "teacher_outputs": {"mode": "auto", "store": str(teacher_store.folder())},
            "threads": settings.DISTILLHUB_RUN_THREADS,
        }

    def found(self, row: TeacherGate, result: Mapping[str, Any], folder: Path) -> Columns:
        try:
            teacher_store.tell()  # at once: people look now
        except DatabaseError as error:
            log.warning("What is stored is told within a minute: the database is away. %s", error)
            connection.close()
        return {"report": result["report"]}

    def announce(self, row: TeacherGate) -> None:
        dataset = row.dataset_version.reference
        title = f"{row.version.reference} on {dataset}"
        work_announcements.announce("gate", row, title, dataset=dataset)


WORK = Asking()
