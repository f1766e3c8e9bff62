"""Making maps of rows: each becomes a vector and a point, which are kept in storage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from training.models import RowMap
from training.worker import folders
from training.worker.work import Columns, Work


class MapMaking(Work[RowMap]):
    model = RowMap
    job, names, verb = "training.make_map", "map_id", "embed"
    related = ("version__model", "dataset_version__dataset")

    def prepare(self, row: RowMap, folder: Path) -> Columns:
        model = None
        if row.version is not None:
            folders.place_files(row.version, folder / "inputs/model")
            model = {
                "name": row.version.reference,
                "path": "inputs/model",
                "task": row.version.model.task,
            }
        return {
            "format": folders.FORMAT,
            "model": model,
            "input": row.dataset_version.input_column,
            "dataset": folders.place_dataset(row.dataset_version, folder),
            "plane": row.plane,
            "seed": 0,
            "threads": settings.DISTILLHUB_RUN_THREADS,
        }

    def found(self, row: RowMap, result: Mapping[str, Any], folder: Path) -> Columns:
        files = folders.store_files(result["files"], folder / "output")
        return {"files": files, "report": result["report"]}


WORK = MapMaking()
