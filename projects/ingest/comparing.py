"""What two versions have in common: rows added, removed and changed, by hashes instead of rows.

A row is found again by its key: the column of ids where both have one, else by what its input is,
with multiplicity: of three equal rows two may be there again. Rows with one key are first paired
where they are equal, then in their order. Memory is some 100 bytes a row and column, whatever the
rows hold; equal hashes (of 64 bits) are taken for equal values.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import IO, Any

from distillhub.lib.later import Later, np
from projects.ingest import restored, stored

pa, pc, pq = Later("pyarrow"), Later("pyarrow.compute"), Later("pyarrow.parquet")

BATCH = 8192  # rows hashed at a time
SAMPLE = 512  # rows by which is told whether values repeat
LONG = 256  # bytes of a value on average, beyond which each is hashed by itself

_ODD = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: splitmix64's step
_FIRST, _SECOND = 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # its multipliers
_NULL = 0x6E756C6C
_OWN = frozenset({"row_id", "source"})  # no content: the number of a row, and where it came from


@dataclass(slots=True)
class Side:
    """One version's file and what its columns are."""

    stream: IO[bytes]
    columns: list[dict[str, Any]]

    @property
    def names(self) -> list[str]:
        return [one["name"] for one in self.columns if one["name"] not in _OWN]

    @property
    def key(self) -> str:
        return next((one["name"] for one in self.columns if one["role"] == "key"), "")

    @property
    def inputs(self) -> list[str]:
        return [one["name"] for one in self.columns if one["role"] in restored.INPUTS]


@dataclass(slots=True)
class Compared:
    by: str  # the column of ids; empty: by what the inputs are
    same: int
    added: np.ndarray[Any, Any]  # [rows] of the new version
    removed: np.ndarray[Any, Any]  # [rows] of the old version
    changed: np.ndarray[Any, Any]  # [pairs, 2]: row of the old version, row of the new one
    columns: dict[str, int]  # of the changed rows, in how many each column differs
    columns_added: list[str]
    columns_removed: list[str]


def compared(old: Side, new: Side) -> Compared:
    """Rows are numbered as in `row_id`."""
    by = old.key if old.key and old.key == new.key else ""
    common = [name for name in old.names if name in set(new.names)]
    keyed = [by] if by else [name for name in old.inputs if name in set(new.inputs)]
    told = [_hashes(side, common, keyed) for side in (old, new)]
    (old_keys, old_rows, old_cells), (new_keys, new_rows, new_cells) = told
    pairs = _pair(old_keys, old_rows, new_keys, new_rows)
    gone = np.setdiff1d(np.arange(len(old_keys)), pairs[:, 0], assume_unique=True)
    come = np.setdiff1d(np.arange(len(new_keys)), pairs[:, 1], assume_unique=True)
    differ = old_rows[pairs[:, 0]] != new_rows[pairs[:, 1]]
    changed = pairs[differ]
    changed = changed[np.argsort(changed[:, 1], kind="stable")]
    columns = {}
    for place, name in enumerate(common):
        many = int((old_cells[changed[:, 0], place] != new_cells[changed[:, 1], place]).sum())
        if many:
            columns[name] = many
    return Compared(
        by=by,
        same=int((~differ).sum()),
        added=come,
        removed=gone,
        changed=changed,
        columns=columns,
        columns_added=[name for name in new.names if name not in set(common)],
        columns_removed=[name for name in old.names if name not in set(common)],
    )


def _pair(old_keys: Any, old_rows: Any, new_keys: Any, new_rows: Any) -> np.ndarray[Any, Any]:
    """[pairs, 2]: rows that are each other's: equal ones first, then by key in their order."""
    equal = _matched(_numbered(_mixed(old_keys, old_rows)), _numbered(_mixed(new_keys, new_rows)))
    left_old = np.setdiff1d(np.arange(len(old_keys)), equal[:, 0], assume_unique=True)
    left_new = np.setdiff1d(np.arange(len(new_keys)), equal[:, 1], assume_unique=True)
    by_key = _matched(_numbered(old_keys[left_old]), _numbered(new_keys[left_new]))
    paired = np.stack([left_old[by_key[:, 0]], left_new[by_key[:, 1]]], axis=1)
    return np.concatenate([equal, paired])


def _matched(old: Any, new: Any) -> np.ndarray[Any, Any]:
    """[pairs, 2] of places with equal values; each side's are unlike each other."""
    _, at_old, at_new = np.intersect1d(old, new, assume_unique=True, return_indices=True)
    return np.stack([at_old, at_new], axis=1)


def _numbered(hashes: Any) -> Any:
    """The hashes made unlike each other: the second of a kind is the second wherever it stands."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    begins = np.concatenate([[True], ordered[1:] != ordered[:-1]])[: len(hashes)]
    starts = np.flatnonzero(begins)
    nth = np.empty(len(hashes), dtype=np.uint64)
    nth[order] = np.arange(len(hashes)) - np.repeat(starts, np.diff([*starts, len(hashes)]))
    return _mixed(hashes, nth)


# Hashes -----------------------------------------------------------------------------------------


def _hashes(side: Side, common: Sequence[str], keyed: Sequence[str]) -> tuple[Any, Any, Any]:
    """Of every row the hash of its key, of all common columns, and of each of them (32 bits)."""
    file = pq.ParquetFile(side.stream)
    many = file.metadata.num_rows
    keys = np.empty(many, dtype=np.uint64)
    rows = np.empty(many, dtype=np.uint64)
    cells = np.empty((many, len(common)), dtype=np.uint32)
    names = list(dict.fromkeys([*common, *keyed]))
    done = 0
    for batch in stored.batches(file, names, BATCH):
        upto = done + batch.num_rows
        found = {name: _of_column(batch.column(name)) for name in names}
        keys[done:upto] = _joined([found[name] for name in keyed], batch.num_rows)
        rows[done:upto] = _joined([found[name] for name in common], batch.num_rows)
        for place, name in enumerate(common):
            cells[done:upto, place] = found[name] >> np.uint64(32)
        done = upto
    return keys, rows, cells


def _joined(columns: Sequence[Any], many: int) -> Any:
    found = np.full(many, _NULL, dtype=np.uint64)
    for one in columns:
        found = _mixed(found, one)
    return found


def _of_column(column: Any) -> Any:
    """[rows], uint64: equal for equal values."""
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        values = column.cast(pa.float64()).fill_null(0.0).to_numpy(zero_copy_only=False)
        found = _scrambled((values + 0.0).view(np.uint64))
    elif _repeats(column):
        encoded = column.dictionary_encode()
        codes = encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)
        unlike = _of_column(encoded.dictionary) if len(encoded.dictionary) else np.zeros(1, "u8")
        found = unlike.take(codes)
    elif column.nbytes > LONG * max(1, len(column)):
        found = np.array([_digest(one) for one in column], dtype=np.uint64)
    else:
        found = _of_texts(column)
    nulls = column.is_null().to_numpy(zero_copy_only=False)
    return np.where(nulls, np.uint64(_NULL), found)


def _repeats(column: Any) -> bool:
    """Whether few values stand in many rows, as labels do."""
    return len(column) > SAMPLE and len(column.slice(0, SAMPLE).unique()) < SAMPLE / 4


def _digest(value: Any) -> int:
    encoded = b"" if not value.is_valid else value.as_buffer()
    return int.from_bytes(hashlib.blake2b(encoded, digest_size=8).digest(), "little")


def _of_texts(column: Any) -> Any:
    """Of short texts, all at once: the sum of each byte's number times a power that belongs to its
    place, as differences of running sums."""
    kind = pa.large_binary()
    column = column.cast(pa.large_string()).cast(kind) if _is_text(column) else column.cast(kind)
    _, offsets, content = column.buffers()
    many = len(column)
    at = np.frombuffer(offsets, dtype=np.int64)[column.offset : column.offset + many + 1]
    data = np.frombuffer(content or b"", dtype=np.uint8)[at[0] : at[-1]]
    powers, inverse = _powers(len(data) + 1)
    sums = np.zeros(len(data) + 1, dtype=np.uint64)
    np.multiply(_numbers_of_bytes().take(data), powers[: len(data)], out=sums[1:])
    np.cumsum(sums, out=sums)
    starts, ends = at[:-1] - at[0], at[1:] - at[0]
    found = (sums.take(ends) - sums.take(starts)) * inverse.take(starts)
    return _mixed(found, (ends - starts).astype(np.uint64))


def _is_text(column: Any) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


@cache
def _numbers_of_bytes() -> Any:
    return _scrambled(np.arange(256, dtype=np.uint64) + np.uint64(1000))


@cache
def _tables(many: int) -> tuple[Any, Any]:
    """The powers of an odd number, and of its inverse modulo 2^64."""
    inverse = pow(_ODD, -1, 1 << 64)
    tables = []
    for base in (_ODD, inverse):
        table = np.full(many, base, dtype=np.uint64)
        table[0] = 1
        tables.append(np.multiply.accumulate(table))
    return tables[0], tables[1]


def _powers(many: int) -> tuple[Any, Any]:
    return _tables(1 << max(16, many.bit_length()))


def _scrambled(values: Any) -> Any:
    """splitmix64: every bit of the result depends on every bit of the value."""
    values = values + np.uint64(_ODD)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(_FIRST)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(_SECOND)
    return values ^ (values >> np.uint64(31))


def _mixed(one: Any, other: Any) -> Any:
    """The hash of a pair, in this order."""
    return _scrambled(one * np.uint64(3) + _scrambled(other))
