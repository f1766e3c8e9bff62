"""What an operation would do, told before it is done: counted where that is quick, and tried on as
many of the first rows as a moment allows."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from distillhub.lib import storage
from distillhub.lib.later import Later
from projects.ingest import stored
from projects.models import DatasetVersion
from projects.operations.operation import Operation, Parent, StoredRow

pq = Later("pyarrow.parquet")

MOMENT = 1.0  # seconds of one reading
MOST_BYTES = 64 << 20  # of the rows that are looked at
BATCH = 200
EXAMPLES = 5  # rows of a kind that are shown
SHOWN = 300  # characters of a value


@dataclass(slots=True)
class Tried:
    """What came of the first rows."""

    rows: int  # of the version it starts from
    count: int | None = None  # of the version it makes, where that is known
    looked: int = 0  # rows that it was tried on
    kept: int = 0
    changed: int = 0
    left_out: list[StoredRow] = field(default_factory=list)
    changes: list[tuple[StoredRow, list[tuple[str, Any, Any]]]] = field(default_factory=list)
    """(the row as it was, [(column, before, after)])"""

    @property
    def whole(self) -> bool:
        return self.looked == self.rows

    @property
    def gone(self) -> int:
        return self.looked - self.kept

    @property
    def does_nothing(self) -> bool:
        same = self.count is None or self.count == self.rows
        return self.whole and same and not self.gone and not self.changed


@dataclass(slots=True)
class Glimpse(Parent):
    """A version of which the first rows are read, straight from where it is stored. However often
    it is read, they are the same."""

    path: Path = Path()
    most: int | None = None
    met: list[StoredRow] = field(default_factory=list)  # as they were, until they are taken

    def open(self) -> IO[bytes]:
        return storage.open_blob(self.version.file_sha256)

    def rows(self) -> Iterator[StoredRow]:
        until = time.monotonic() + MOMENT
        self.met.clear()
        done = size = 0
        with self.open() as stream:
            for batch in stored.batches(pq.ParquetFile(stream), rows=BATCH):
                for row in batch.to_pylist():
                    if self.most is not None and done >= self.most:
                        return
                    done += 1
                    size += sum(len(one) for one in row.values() if isinstance(one, str | bytes))
                    self.met.append(dict(row))
                    yield row
                if self.most is None and (time.monotonic() > until or size > MOST_BYTES):
                    break
        self.most = done


def tried(
    operation: Operation, versions: Sequence[DatasetVersion], options: Mapping[str, Any]
) -> Tried:
    """What the operation would do to the first of `versions`, the others being those it names.
    Raises Invalid, BadFile, and storage.Damaged and Away."""
    first = Glimpse(versions[0])
    parents: list[Parent] = [first, *map(Glimpse, versions[1:])]
    found = Tried(rows=versions[0].rows, count=operation.count(parents, options))
    for row in operation.rows(parents, options):
        if not first.met or row["row_id"] > first.met[-1]["row_id"]:
            break  # the first version's rows are over, and another's begin
        if row["row_id"] < first.met[0]["row_id"]:
            break
        _take(found, first.met, row)
    _leave_out(found, first.met)
    return found


def _take(found: Tried, met: list[StoredRow], row: StoredRow) -> None:
    """One row that is kept, and those before it that were not."""
    at = next(place for place, one in enumerate(met) if one["row_id"] == row["row_id"])
    _leave_out(found, met[:at])
    before = met[at]
    del met[: at + 1]
    found.looked += 1
    found.kept += 1
    changes = [
        (name, _shown(before.get(name)), _shown(value))
        for name, value in row.items()
        if before.get(name) != value
    ]
    if changes:
        found.changed += 1
        if len(found.changes) < EXAMPLES:
            found.changes.append((_short(before), changes))


def _leave_out(found: Tried, rows: list[StoredRow]) -> None:
    found.looked += len(rows)
    for row in rows:
        if len(found.left_out) < EXAMPLES:
            found.left_out.append(_short(row))
    rows.clear()


def _short(row: StoredRow) -> StoredRow:
    return {name: _shown(value) for name, value in row.items()}


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return ""
    return f"{value[:SHOWN]}…" if isinstance(value, str) and len(value) > SHOWN else value
