"""Parts: Parquet files of a day's rows, and which of them are joined.

Every look adds a small part to each day that it touches. Eight parts of about one size become one
of the next size, so a row is written again a few times (the logarithm of a day's rows by eight),
and a day that is over becomes one part.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from training.engine.watching import known

JSON = dict[str, Any]
Times = tuple[float | None, float | None]

DAY = 86_400.0
ROWS, SAID, INDEX = "rows", "said", "index"
TOGETHER = 8  # parts of one size that are joined
SMALLEST = 64  # rows: parts below are of one size
MOST_JOINED = 200_000  # rows of a part that is made by joining
LEFT = 3  # parts of a day that is over may stay
GROUP = 4096  # rows that are read at least, where one is wanted

TIME = pa.timestamp("us", tz="UTC")
#: Columns of fixed types; `described.*` are float64 or string.
TYPES: Mapping[str, pa.DataType] = {
    "id": pa.string(),
    "time": TIME,
    "hash": pa.uint64(),
    "window": pa.int64(),
    "text": pa.string(),
    "cells": pa.string(),
    "blob": pa.string(),
    "content": pa.binary(),  # of pictures and sounds, until they are files of their own
    "input_hash": pa.string(),
    "prediction": pa.string(),
    "number": pa.float64(),
    "probabilities": pa.list_(pa.float32()),
    "latency_ms": pa.float32(),
    "label": pa.string(),
    "version": pa.string(),
    "tags": pa.string(),
    "vector": pa.list_(pa.float16()),
    "teacher_prediction": pa.string(),
    "teacher_probabilities": pa.list_(pa.float32()),
    "teacher_share": pa.float32(),
    "tokens": pa.int32(),  # of a text that was written, and their mean log probability
    "log_probability": pa.float32(),
    "label_same": pa.float32(),
    "label_alike": pa.float32(),
    "teacher_same": pa.float32(),
    "teacher_alike": pa.float32(),
}
#: How like a written answer its label is, and the teacher's (written.py).
SAME = ("label_same", "label_alike", "teacher_same", "teacher_alike")
#: What SAID parts hold, by the id of a row.
LATER = ("label", "teacher_prediction", "teacher_probabilities", "teacher_share", *SAME)


@dataclass(frozen=True, slots=True)
class Part:
    """One that is stored."""

    kind: str
    day: str
    rows: int
    sha256: str
    waits: bool = False  # SAID of rows that did not come yet

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Part":
        return cls(said["kind"], said["day"], said["rows"], said["sha256"], bool(said.get("waits")))


class Writer:
    """Writes parts below `output/` of a look's folder, and tells of them as `result.json` does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.told: list[JSON] = []
        (folder / "output").mkdir(exist_ok=True)

    def rows(self, table: pa.Table) -> None:
        """A part, and its index."""
        for day, some in by_day(table):
            path = self._write(ROWS, day, some, _times(some))
            with path.open("rb") as file:
                sha256 = file_digest(file, "sha256").hexdigest()
            name = path.with_suffix(".index")
            hashes = some.column("hash").to_numpy()
            known.write(name, sha256, hashes, some.column("window").to_numpy())
            self._tell(name, INDEX, day, len(some), _times(some))

    def said(self, table: pa.Table, day: str, *, waits: bool) -> None:
        """What came later of rows of a day; `waits`, of rows that did not come yet. These have no
        times, which is how they are told from the others."""
        start = np.datetime64(day, "us").astype(np.int64) / 1e6
        self._write(SAID, day, table, (None, None) if waits else (start, start + DAY))

    def _write(self, kind: str, day: str, table: pa.Table, times: Times) -> Path:
        path = self.folder / "output" / f"{kind}-{len(self.told)}.parquet"
        pq.write_table(full(table), path, compression="zstd", row_group_size=GROUP)
        self._tell(path, kind, day, len(table), times)
        return path

    def _tell(self, path: Path, kind: str, day: str, rows: int, times: Times) -> None:
        self.told.append(
            {
                "name": path.name,
                "kind": kind,
                "day": day,
                "rows": rows,
                "first_at": times[0],
                "last_at": times[1],
                "bytes": path.stat().st_size,
            }
        )


def _times(table: pa.Table) -> Times:
    """Of its first and last row, in seconds since 1970."""
    ends = pc.min_max(table.column("time").cast(pa.int64())).as_py()
    return ends["min"] / 1e6, ends["max"] / 1e6


def full(table: pa.Table) -> pa.Table:
    """Without columns in which nothing stands."""
    kept = [name for name in table.column_names if table.column(name).null_count < len(table)]
    return table.select(kept)


def by_day(table: pa.Table) -> Iterable[tuple[str, pa.Table]]:
    """The rows of each day (UTC), in their order."""
    days = table.column("time").cast(pa.int64()).to_numpy() // 86_400_000_000
    for day in np.unique(days):
        name = str(np.datetime64(int(day), "D"))
        yield name, table.filter(pa.array(days == day))


def taken(source: Path | IO[bytes], places: Sequence[int]) -> pa.Table:
    """Rows at some places of a part, in that order; only the groups that hold them are read."""
    file = pq.ParquetFile(source)
    starts = np.cumsum(
        [0] + [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
    )
    at = np.asarray(places, dtype=np.int64)
    groups = np.searchsorted(starts, at, side="right") - 1
    needed = np.unique(groups)
    table = file.read_row_groups(needed.tolist())
    shift = np.zeros(len(starts), dtype=np.int64)
    offset = 0
    for group in needed:
        shift[group] = starts[group] - offset
        offset += int(starts[group + 1] - starts[group])
    return table.take(pa.array(at - shift[groups]))


def joined(tables: Sequence[pa.Table]) -> pa.Table:
    return pa.concat_tables(tables, promote_options="default").combine_chunks()


def newest(table: pa.Table) -> pa.Table:
    """Of what was said of one row the last that says anything, column by column."""
    found: dict[str, JSON] = {}
    for row in table.to_pylist():
        known_row = found.setdefault(row["id"], row)
        known_row.update({name: row[name] for name in LATER if row.get(name) is not None})
    return pa.Table.from_pylist(list(found.values()), schema=table.schema)


def to_join(parts: Iterable[Part], today: str) -> list[list[Part]]:
    """Parts that become one each, the most parts first; of each kind no more rows in one look than
    a part may have. Always the newest of a day: what was said last stays last."""
    days: dict[tuple[str, str, bool], list[Part]] = defaultdict(list)
    for part in parts:
        if part.kind != INDEX:
            days[part.kind, part.day, part.waits].append(part)
    groups = [_newest_of(some, day < today) for (_, day, _), some in sorted(days.items())]
    left = {ROWS: MOST_JOINED, SAID: MOST_JOINED}
    chosen: list[list[Part]] = []
    for some in sorted(groups, key=lambda some: -len(some)):
        rows = sum(one.rows for one in some)
        if len(some) > 1 and rows <= left[some[0].kind]:
            left[some[0].kind] -= rows
            chosen.append(some)
    return chosen


def _newest_of(some: Sequence[Part], over: bool) -> list[Part]:
    """The newest parts of a day that are to become one: as many as there are of which the largest
    size stands among them often enough, or all that fit, of a day that is `over`."""
    rows = most = count = chosen = fits = 0
    for many, one in enumerate(reversed(some), 1):
        rows += one.rows
        if rows > MOST_JOINED:
            break
        fits = many
        size = _size(one.rows)
        count = count + 1 if size == most else 1 if size > most else count
        most = max(most, size)
        if count >= TOGETHER:
            chosen = many
    if over and fits > LEFT:
        chosen = fits
    return list(some[len(some) - chosen :])


def _size(rows: int) -> int:
    size, edge = 0, SMALLEST
    while rows > edge:
        size, edge = size + 1, edge * TOGETHER
    return size
