"""Rows of a stored version, a page at a time: only the row groups that a page needs are read."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import IO, Any

from distillhub.lib.later import Later, np
from projects.ingest.found import recent

pa, pc, pq = Later("pyarrow"), Later("pyarrow.compute"), Later("pyarrow.parquet")


TESTS = ("is", "not", "contains", "from", "to", "missing")


class BadPattern(ValueError):
    """A regular expression that RE2 cannot read."""


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on one column. Numbers are compared as numbers, all else as text."""

    column: str
    test: str  # of TESTS
    value: str = ""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which rows: every condition that is given must hold."""

    split: str | None = None
    label: str | None = None
    unlabelled: bool = False
    q: str | None = None  # stands in the text, in any case; see `_searched`
    match_case: bool = False
    whole_word: bool = False
    regex: bool = False  # `q` is a regular expression as RE2 reads it, so that its time is bounded
    length_from: int | None = None  # characters of the text
    length_to: int | None = None
    where: tuple[Where, ...] = ()
    row_ids: tuple[int, ...] | None = None
    separator: str = ""  # between the labels of one row, where there may be several

    @property
    def is_empty(self) -> bool:
        return self == Filter(separator=self.separator)


@dataclass(frozen=True, slots=True)
class Sort:
    """In which order: by a column of the file, or by `length`, the characters of the text. Rows
    without a value come last; equal ones stay in the order of the file."""

    column: str
    descending: bool = False


def read(
    stream: IO[bytes],
    wanted: Filter,
    *,
    offset: int,
    limit: int,
    without: tuple[str, ...] = (),
    sort: Sort | None = None,
    key: str = "",
    scores: np.ndarray[Any, Any] | None = None,
) -> tuple[list[dict[str, Any]], int]:
    """(rows, how many match in all). `without` names columns that are not read. `key` names the
    content of the file, so that what was found there a moment ago is not looked for again. With
    `scores` of all rows the highest come first, each with its own as `similarity`."""
    file = pq.ParquetFile(stream)
    columns = [name for name in file.schema_arrow.names if name not in without]
    if scores is not None:
        ids = _found(file, wanted, None, key)
        first = by_score(ids, scores, first=offset + limit)
        rows = _in_order(file, first[offset : offset + limit], columns)
        return [row | {"similarity": float(scores[row["row_id"]])} for row in rows], len(ids)
    if wanted.is_empty and sort is None:
        total = file.metadata.num_rows
        found = np.arange(min(offset, total), min(offset + limit, total))
        return _rows(file, found, columns), total
    ids = _found(file, wanted, sort, key)
    page = ids[offset : offset + limit]
    if sort is None:
        return _rows(file, page, columns), len(ids)
    return _in_order(file, page, columns), len(ids)


def matching(
    stream: IO[bytes],
    wanted: Filter,
    *,
    sort: Sort | None = None,
    key: str = "",
    scores: np.ndarray[Any, Any] | None = None,
) -> np.ndarray[Any, Any]:
    """The ids of all rows that match, increasing, as `sort` says, or the highest of `scores`
    first."""
    file = pq.ParquetFile(stream)
    if scores is not None:
        return by_score(_found(file, wanted, None, key), scores)
    if wanted.is_empty and sort is None:
        return np.arange(file.metadata.num_rows)
    return _found(file, wanted, sort, key)


def by_score(
    ids: np.ndarray[Any, Any], scores: np.ndarray[Any, Any], *, first: int | None = None
) -> np.ndarray[Any, Any]:
    """The highest first; equal ones stay as they are. `first` of them, at least, if not all."""
    falling = -scores[ids]
    if first is not None and 0 < first < len(ids):
        near = np.flatnonzero(falling <= np.partition(falling, first - 1)[first - 1])
        ids, falling = ids[near], falling[near]
    found: np.ndarray[Any, Any] = ids[np.argsort(falling, kind="stable")]
    return found


def check_pattern(pattern: str) -> None:
    """Raises BadPattern, saying what is wrong."""
    try:
        pc.match_substring_regex(pa.array([""]), pattern)
    except pa.ArrowInvalid as error:
        said = str(error).split(": ", 1)[-1]
        raise BadPattern(f"This is no regular expression: {said}.") from None


def these(
    stream: IO[bytes], row_ids: np.ndarray[Any, Any], *, without: tuple[str, ...] = ()
) -> list[dict[str, Any]]:
    """The rows of these ids in their order, which may be any."""
    file = pq.ParquetFile(stream)
    columns = [name for name in file.schema_arrow.names if name not in without]
    return _in_order(file, row_ids, columns)


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


def _in_order(file: Any, row_ids: np.ndarray[Any, Any], columns: list[str]) -> list[dict[str, Any]]:
    found = {row["row_id"]: row for row in _rows(file, np.unique(row_ids), columns)}
    return [found[int(row_id)] for row_id in row_ids]


def _found(file: Any, wanted: Filter, sort: Sort | None, key: str) -> np.ndarray[Any, Any]:
    def look() -> np.ndarray[Any, Any]:
        ids = _matching(file, wanted)
        return ids if sort is None else _sorted(file, ids, sort)

    # A list of ten thousand rows would be a key as big as what is found by it.
    if not key or wanted.row_ids is not None:
        return look()
    return recent.find((key, wanted, sort), look)


def _sorted(file: Any, ids: np.ndarray[Any, Any], sort: Sort) -> np.ndarray[Any, Any]:
    by_length = sort.column == "length"
    column = _searched(file)[0] if by_length else sort.column
    values = file.read(columns=[column])[column]
    if by_length:
        values = pc.utf8_length(values)
    if len(ids) < len(values):
        values = values.take(pa.array(ids))
    keys: Any = pa.table({"value": values, "place": np.arange(len(ids))})
    order = [("value", "descending" if sort.descending else "ascending"), ("place", "ascending")]
    found: np.ndarray[Any, Any] = ids[np.asarray(pc.sort_indices(keys, sort_keys=order))]
    return found


def _matching(file: Any, wanted: Filter) -> np.ndarray[Any, Any]:
    """The ids of all matching rows, increasing, reading only the columns that are asked about."""
    by_length = wanted.length_from is not None or wanted.length_to is not None
    searched = _searched(file) if wanted.q or by_length else []
    needed = [
        *(["split"] if wanted.split else []),
        *(["label"] if wanted.label or wanted.unlabelled else []),
        *searched,
        *(one.column for one in wanted.where),
    ]
    starts = _starts(file)
    if not needed:
        if wanted.row_ids is None:
            return np.arange(starts[-1])
        listed = np.unique(np.array(wanted.row_ids, dtype=np.int64))
        inside: np.ndarray[Any, Any] = listed[(listed >= 0) & (listed < starts[-1])]
        return inside
    found = []
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group, columns=list(dict.fromkeys(needed)))
        mask: Any = pa.array(np.ones(table.num_rows, dtype=bool))
        if wanted.split:
            mask = pc.and_(mask, pc.equal(table["split"], wanted.split))
        if wanted.label:
            mask = pc.and_(mask, _labelled(table["label"], wanted.label, wanted.separator))
        if wanted.unlabelled:
            mask = pc.and_(mask, pc.is_null(table["label"]))
        if wanted.q:
            hits = [_holding(table[one], wanted) for one in searched]
            mask = pc.and_(mask, pc.fill_null(reduce(pc.or_kleene, hits), False))
        if by_length:
            lengths = pc.utf8_length(table[searched[0]])
            if wanted.length_from is not None:
                mask = pc.and_(mask, pc.greater_equal(lengths, wanted.length_from))
            if wanted.length_to is not None:
                mask = pc.and_(mask, pc.less_equal(lengths, wanted.length_to))
        for one in wanted.where:
            mask = pc.and_(mask, _fitting(table[one.column], one))
        array = np.asarray(pc.fill_null(mask, False))
        found.append(np.flatnonzero(array) + starts[group])
    ids = np.concatenate(found) if found else np.empty(0, dtype=np.int64)
    if wanted.row_ids is not None:
        ids = ids[np.isin(ids, np.array(wanted.row_ids, dtype=np.int64))]
    return ids


def _holding(column: Any, wanted: Filter) -> Any:
    """Which texts hold the words."""
    words, any_case = str(wanted.q), not wanted.match_case
    if not wanted.regex and not wanted.whole_word:
        return pc.match_substring(column, words, ignore_case=any_case)
    if not wanted.regex:
        words = r"\Q" + words.replace(r"\E", r"\E\\E\Q") + r"\E"
    if wanted.whole_word:  # RE2's own \b knows no letters but those of ASCII
        words = rf"(?:^|[^\pL\pN_])(?:{words})(?:$|[^\pL\pN_])"
    return pc.match_substring_regex(column, words, ignore_case=any_case)


def _fitting(column: Any, where: Where) -> Any:
    """Which values a condition on one column holds for; it holds for none that is missing, but that
    it is missing, or is not something."""
    if where.test == "missing":
        missing = pc.is_null(column)
        if pa.types.is_string(column.type):
            missing = pc.or_kleene(missing, pc.fill_null(pc.equal(column, ""), False))
        return missing
    value: Any = where.value
    if where.test == "contains":
        text = column if pa.types.is_string(column.type) else pc.cast(column, pa.string())
        return pc.fill_null(pc.match_substring(text, value, ignore_case=True), False)
    if not pa.types.is_string(column.type):
        value = float(value)
    if where.test == "not":
        return pc.fill_null(pc.not_equal(column, value), True)
    compare = {"is": pc.equal, "from": pc.greater_equal, "to": pc.less_equal}[where.test]
    return pc.fill_null(compare(column, value), False)


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
