"""Rows with equal keys, found in little memory: numpy's `unique` takes twice as much, which for
millions of rows is most of what their version costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from distillhub.lib.later import np

if TYPE_CHECKING:  # numpy itself comes with the first rows
    Rows = np.ndarray[Any, Any]


def grouped(keys: Rows) -> tuple[Rows, Rows]:
    """([rows]: the number of each row's group, in the order of the keys; [groups]: its first row),
    both int32, for up to two thousand million rows."""
    order = np.argsort(keys, kind="stable").astype(np.int32)
    begins = _begins(keys[order])
    group = np.empty(len(keys), dtype=np.int32)
    group[order] = np.cumsum(begins, dtype=np.int32) - 1
    return group, order[begins]


def repeated(keys: Rows) -> Rows:
    """`[rows]`: whether an earlier row has the same key."""
    order = np.argsort(keys, kind="stable").astype(np.int32)
    found = np.zeros(len(keys), dtype=bool)
    found[order[~_begins(keys[order])]] = True
    return found


def _begins(ordered: Rows) -> Rows:
    """Of keys in order, which differ from the one before."""
    begins = np.ones(len(ordered), dtype=bool)
    np.not_equal(ordered[1:], ordered[:-1], out=begins[1:])
    return begins
