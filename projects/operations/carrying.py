"""A worker carries an operation out: the rows of a version that other versions are made into."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillhub.lib import storage
from projects.ingest import ingestion, issues, making, reading, restored, splits
from projects.ingest.formats import BadFile, Plan, Row
from projects.models import DatasetVersion
from projects.operations import registry
from projects.operations.operation import REMARKS, Parent, StoredRow, Work


def source_of(version: DatasetVersion, folder: Path) -> making.Source:
    """Where a version's rows come from: its upload, or the operation that makes it."""
    if version.operation is None:
        return ingestion.uploaded_rows(version, folder)
    return ChangedRows(version, folder)


class ChangedRows(making.Source):
    """What an operation makes of the rows of earlier versions."""

    nothing = "Not a single row is left."

    def __init__(self, version: DatasetVersion, folder: Path) -> None:
        asked: dict[str, Any] = version.operation or {}
        self.version, self.folder = version, folder
        self.report: dict[str, Any] = {}
        self.operation = registry.get(asked["operation"])
        self.options: dict[str, Any] = asked["options"]
        ids = [version.parent_id, *asked.get("others", [])]
        found = DatasetVersion.objects.select_related("dataset").in_bulk(ids)
        self.parents = [
            Parent(found[pk], storage.local_copy(found[pk].file_sha256, folder / f"parent-{place}"))
            for place, pk in enumerate(ids)
        ]
        self.columns = self.operation.columns(self.parents, self.options)
        self.plan = _plan(version, self.columns)
        self.measures = restored.measures(self.columns)
        self.shares = version.reading.get("splits") or splits.DEFAULT
        self.seed = version.reading.get("seed", 0)
        self.divides = self.operation.divides

    def rows(self, tally: issues.Tally) -> Iterator[tuple[Row, str, float]]:
        whole = sum(parent.version.rows for parent in self.parents) or 1
        work = Work(self.version, self.folder, tally, self.beat, self.report)
        made = self.operation.carried_out(self.parents, self.options, work)
        for done, values in enumerate(made):
            remarks = values.pop(REMARKS, ())
            row = self._row(values)
            row.remarks = (*row.remarks, *remarks)
            rest = 1.0 - work.share
            yield row, row.source, work.share + rest * min(1.0, done / whole)

    def told(self) -> dict[str, Any]:
        return {"operation": self.report} if self.report else {}

    def _row(self, values: StoredRow) -> Row:
        try:
            return restored.row(values, self.columns)
        except BadFile:
            raise
        # Pillow's and libsndfile's readers fail on broken files in more ways than can be listed.
        except Exception as error:
            raise BadFile(f"{values['source']} cannot be read any more: {error}.") from None

    def row_size(self, row: Row) -> int:
        return 4 * len(row.input) + sum(4 * len(str(value)) for value in row.others) + 500


def _plan(version: DatasetVersion, columns: list[dict[str, str]]) -> Plan:
    plan = reading.plan_of({"task": version.dataset.task} | version.reading)
    extras = tuple(one["name"] for one in columns if one["role"] in restored.KEPT)
    return replace(plan, columns={}, others=extras)
