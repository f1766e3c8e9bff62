"""The Parquet of a dataset version: written once by ingestion, read a page at a time.

Columns: `row_id` int64 0..n-1, `split`, `label` (null when unknown), the inputs (`text`; `image` or
`audio`, encoded; or the columns of a table under their own names), `source` (the line, or the file
in the archive), then the kept columns of the upload.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distillhub.lib.later import Later, np
from projects.ingest.formats import SPLITS, Row

pa, pq = Later("pyarrow"), Later("pyarrow.parquet")

GROUP_ROWS = 2000
GROUP_BYTES = 8 << 20  # a group is what one page or one picture costs to read
RESERVED = ("row_id", "split", "label", "text", "image", "audio", "source")
COMPRESSION = "zstd"


def stored_names(columns: tuple[str, ...], taken: list[str]) -> list[str]:
    """Names of the upload's columns in the file: their own, unless reserved or taken."""
    names: list[str] = []
    for column in columns:
        name = column if column not in RESERVED else f"original_{column}"
        while name in names or name in taken:
            name += "_2"
        names.append(name)
    return names


def _type(kind: str) -> Any:
    """Of a column in the file, by what ingestion calls its type."""
    if kind == "number":
        return pa.float64()
    return pa.string() if kind in {"string", "category"} else pa.binary()


class Draft:
    """Rows on their way: everything but `row_id` and `split`, which are known at the end."""

    def __init__(self, path: Path, columns: list[dict[str, str]]) -> None:
        """`columns` are those of the stored file, as `DatasetVersion.columns` has them."""
        self.path = path
        self.schema = pa.schema(
            [
                pa.field(
                    one["name"],
                    _type(one["type"]),
                    nullable=one["role"] not in {"input", "measure", "source"},
                )
                for one in columns
                if one["role"] not in {"id", "split"}
            ]
        )
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(str(path), self.schema, options=options)
        self._rows: list[tuple[Any, ...]] = []
        self._bytes = 0

    def add(self, row: Row, source: str, size: int) -> None:
        values = row.values or (row.input,)
        self._rows.append((row.label, *values, source, *row.others))
        self._bytes += size
        if len(self._rows) >= GROUP_ROWS or self._bytes >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            columns = [
                pa.array(values, type=field.type)
                for values, field in zip(zip(*self._rows, strict=True), self.schema, strict=True)
            ]
            self._writer.write_batch(pa.record_batch(columns, schema=self.schema))
            self._rows, self._bytes = [], 0

    def close(self) -> None:
        self._flush()
        self._writer.close()


def write(draft: Draft, target: Path, splits: np.ndarray[Any, Any]) -> Iterator[int]:
    """Write the version's file from a closed draft and the splits [rows] (indices of SPLITS),
    yielding the number of rows written so far."""
    schema = pa.schema(
        [
            pa.field("row_id", pa.int64(), nullable=False),
            pa.field("split", pa.string(), nullable=False),
            *draft.schema,
        ]
    )
    words = pa.array(SPLITS)
    done = 0
    with (
        pa.OSFile(str(draft.path), "rb") as source,
        pa.ipc.open_file(source) as batches,
        pq.ParquetWriter(str(target), schema, compression=COMPRESSION) as writer,
    ):
        for index in range(batches.num_record_batches):
            batch = batches.get_batch(index)
            here = splits[done : done + batch.num_rows]
            columns = [
                pa.array(np.arange(done, done + batch.num_rows)),
                words.take(pa.array(here.astype(np.int32))),
                *batch.columns,
            ]
            table = pa.table(columns, schema=schema)
            writer.write_table(table, row_group_size=batch.num_rows)
            done += batch.num_rows
            yield done


def fingerprint(path: Path) -> str:
    """sha256 of the rows: of every column's name, then of every value in the order of the rows.
    `source` stays outside, so that the same rows from another file have the same fingerprint."""
    file = pq.ParquetFile(str(path))
    names = [name for name in file.schema_arrow.names if name not in {"row_id", "source"}]
    digest = hashlib.sha256("\0".join(names).encode())
    for batch in batches(file, names):
        for values in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            for value in values:
                if value is None:
                    digest.update(b"\xff" * 8)
                    continue
                if isinstance(value, float):
                    digest.update(b"\xfe" * 8 + struct.pack("<d", value))
                    continue
                encoded = value if isinstance(value, bytes) else value.encode()
                digest.update(struct.pack("<Q", len(encoded)))
                digest.update(encoded)
    return digest.hexdigest()


def batches(file: Any, names: list[str] | None = None, rows: int = GROUP_ROWS) -> Iterator[Any]:
    """The rows of an open Parquet file with these columns, some at a time, of one group after the
    other: over all groups at once pyarrow keeps some of each, 700 MB of two million rows."""
    for group in range(file.num_row_groups):
        yield from file.iter_batches(batch_size=rows, columns=names, row_groups=[group])
