"""The file of predictions that every evaluated run leaves: what was answered, row by row."""

from typing import Any

from distillhub.lib import storage
from distillhub.lib.later import Later
from training.models import Artifact, Run

parquet = Later("pyarrow.parquet")


def file_of(run: Run) -> Artifact | None:
    return run.artifacts.filter(kind="predictions").order_by("-pk").first()


def read(file: Artifact) -> Any:
    """Its table (pyarrow), as engine/predictions.py and engine/writing_report.py write it. Raises
    storage.Damaged and storage.Away."""
    with storage.open_blob(file.sha256) as stream:
        return parquet.read_table(stream)
