"""Rows of a stored version, a page at a time: only the row groups that a page needs are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import IO, Any

from distillhub.lib.later import Later, np

pa, pc, pq = Later("pyarrow"), Later("pyarrow.compute"), Later("pyarrow.parquet")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows: every condition that is given must hold."""

    split: str | None = None
    label: str | None = None
    unlabelled: bool = False
    q: str | None = None  # stands in the text, in any case; see `_searched`
    row_ids: tuple[int, ...] | None = None
    separator: str = ""  # between the labels of one row, where there may be several

    @property
    def is_empty(self) -> bool:
        return self == Filter(separator=self.separator)


def read(
    stream: IO[bytes], wanted: Filter, *, offset: int, limit: int, without: tuple[str, ...] = ()
) -> tuple[list[dict[str, Any]], int]:
    """(rows, how many match in all). `without` names columns that are not read."""
    file = pq.ParquetFile(stream)
    columns = [name for name in file.schema_arrow.names if name not in without]
    if wanted.is_empty:
        total = file.metadata.num_rows
        found = np.arange(min(offset, total), min(offset + limit, total))
    else:
        fitting = _matching(file, wanted)
        total = len(fitting)
        found = fitting[offset : offset + limit]
    return _rows(file, found, columns), total


def matching(stream: IO[bytes], wanted: Filter) -> np.ndarray[Any, Any]:
    """The ids of all rows that match, increasing."""
    file = pq.ParquetFile(stream)
    if wanted.is_empty:
        return np.arange(file.metadata.num_rows)
    return _matching(file, wanted)


def these(
    stream: IO[bytes], row_ids: np.ndarray[Any, Any], *, without: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """The rows of these ids in their order, which may be any."""
    file = pq.ParquetFile(stream)
    columns = [name for name in file.schema_arrow.names if name not in without]
    found = {row["row_id"]: row for row in _rows(file, np.unique(row_ids), columns)}
    return [found[int(row_id)] for row_id in row_ids]


def one(stream: IO[bytes], row_id: int) -> dict[str, Any] | None:
    """A single row with every column, or None."""
    file = pq.ParquetFile(stream)
    if not 0 <= row_id < file.metadata.num_rows:
        return None
    return _rows(file, np.array([row_id]), file.schema_arrow.names)[0]


def _starts(file: Any) -> np.ndarray[Any, Any]:
    """The first row id of every row group, and the number of rows."""
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64)


def _rows(file: Any, row_ids: np.ndarray[Any, Any], columns: list[str]) -> list[dict[str, Any]]:
    """The rows in the order of `row_ids`, which are increasing."""
    if not len(row_ids):
        return []
    starts = _starts(file)
    groups = np.searchsorted(starts, row_ids, side="right") - 1
    rows: list[dict[str, Any]] = []
    for group in np.unique(groups):
        table = file.read_row_group(int(group), columns=columns)
        here = row_ids[groups == group] - starts[group]
        rows += table.take(pa.array(here)).to_pylist()
    return rows


def _matching(file: Any, wanted: Filter) -> np.ndarray[Any, Any]:
    """The ids of all matching rows, increasing, reading only the columns that are asked about."""
    searched = _searched(file) if wanted.q else []
    needed = [
        *(["split"] if wanted.split else []),
        *(["label"] if wanted.label or wanted.unlabelled else []),
        *searched,
    ]
    starts = _starts(file)
    if not needed:
        listed = np.unique(np.array(wanted.row_ids or (), dtype=np.int64))
        inside: np.ndarray[Any, Any] = listed[(listed >= 0) & (listed < starts[-1])]
        return inside
    found = []
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group, columns=needed)
        mask: Any = pa.array(np.ones(table.num_rows, dtype=bool))
        if wanted.split:
            mask = pc.and_(mask, pc.equal(table["split"], wanted.split))
        if wanted.label:
            mask = pc.and_(mask, _labelled(table["label"], wanted.label, wanted.separator))
        if wanted.unlabelled:
            mask = pc.and_(mask, pc.is_null(table["label"]))
        if wanted.q:
            hits = [pc.match_substring(table[one], wanted.q, ignore_case=True) for one in searched]
            mask = pc.and_(mask, pc.fill_null(reduce(pc.or_kleene, hits), False))
        array = np.asarray(mask)
        found.append(np.flatnonzero(array) + starts[group])
    ids = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
    if wanted.row_ids is not None:
        ids = ids[np.isin(ids, np.array(wanted.row_ids))]
    return ids


def _searched(file: Any) -> list[str]:
    """The text; for pictures and sounds, the file's name; of a table, its columns of words."""
    schema = file.schema_arrow
    if "text" in schema.names:
        return ["text"]
    if "image" in schema.names or "audio" in schema.names:
        return ["source"]
    own = {"split", "label", "source"}
    words = [one.name for one in schema if one.type == pa.string() and one.name not in own]
    return words or ["source"]


def _labelled(column: Any, label: str, separator: str) -> Any:
    """Which rows have the label, maybe among others."""
    if not separator:
        return pc.fill_null(pc.equal(column, label), False)
    framed = pc.binary_join_element_wise(separator, column, separator, "")
    return pc.fill_null(pc.match_substring(framed, f"{separator}{label}{separator}"), False)
