"""What a monitor was sent, row by row, from its Parquet parts: each with what was said of it later,
by labels and by the teacher, and whether it is of a slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from distillhub.lib import storage
from distillhub.lib.later import Later
from training.models import InferencePart, Monitor

pa, pq = Later("pyarrow"), Later("pyarrow.parquet")
conditions = Later("training.engine.watching.conditions")  # these bring numpy and pyarrow
counting = Later("training.engine.watching.counting")
baseline = Later("training.engine.watching.baseline")

ROWS_AT_ONCE = 2000
#: Columns of a part that a dataset, or the choice of rows, asks for.
ASKED = (
    *("id", "time", "window", "text", "cells", "blob", "prediction", "number", "probabilities"),
    *("label", "version", "teacher_prediction"),
)
LATER = ("id", "label", "teacher_prediction")
IN_SLICE = "in_slice()"  # whether a row is of one of the slices, beside its columns


def rows(
    monitor: Monitor,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    slices: Sequence[str] = (),
) -> Iterator[dict[str, Any]]:
    """Those of a time, oldest part first; `slices` are names of the monitor's. Raises
    storage.Damaged and storage.Away."""
    queries = [one["query"] for one in monitor.slices if one["name"] in slices]
    parts = InferencePart.objects.filter(monitor=monitor)
    later = _said(parts.filter(kind=InferencePart.Kind.SAID))
    own = parts.filter(kind=InferencePart.Kind.ROWS).order_by("day", "pk")
    if since is not None:
        own = own.exclude(last_at__lt=since)
    if until is not None:
        own = own.exclude(first_at__gte=until)
    for part in own:
        for row in _rows(monitor, part.sha256, queries):
            at = row.get("time")
            if at is not None and ((since and at < since) or (until and at >= until)):
                continue
            said = later.get(row["id"])
            yield row | said if said else row


def _said(parts: Any) -> dict[str, dict[str, Any]]:
    """{id: what came later}; of two that say the same thing the newer counts."""
    found: dict[str, dict[str, Any]] = {}
    for part in parts.order_by("day", "pk"):
        for row in _read(part.sha256, LATER):
            own = {name: row[name] for name in LATER[1:] if row.get(name) is not None}
            found.setdefault(row["id"], {}).update(own)
    return found


def _rows(monitor: Monitor, sha256: str, queries: Sequence[Any]) -> Iterator[dict[str, Any]]:
    if not queries:
        yield from _read(sha256, ASKED)
        return
    with storage.open_blob(sha256) as stream:
        file = pq.ParquetFile(stream)
        there = [name for name in file.schema_arrow.names if name != "vector"]
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=there):
            table = pa.Table.from_batches([batch])
            nothing = baseline.Baseline.none(
                task=monitor.task,
                labels=monitor.labels,
                reads="columns" if "cells" in there else "text",
                slices=[],
                several=monitor.several_labels,
            )
            view = counting.View.of(table, nothing)
            masks = [conditions.chosen(view, query).tolist() for query in queries]
            asked = table.select([name for name in ASKED if name in there]).to_pylist()
            for row, *inside in zip(asked, *masks, strict=True):
                yield row | {IN_SLICE: any(inside)}


def _read(sha256: str, columns: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    with storage.open_blob(sha256) as stream:
        file = pq.ParquetFile(stream)
        there = [name for name in columns if name in file.schema_arrow.names]
        for batch in file.iter_batches(ROWS_AT_ONCE, columns=there):
            yield from batch.to_pylist()
