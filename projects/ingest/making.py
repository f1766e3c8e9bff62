"""Rows become a version: written once as Parquet, counted, compared with one another.

Where they come from is a Source: an upload (ingestion.py), or earlier versions that an operation
has changed (projects/operations).
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from distillhub.lib import storage
from distillhub.lib.later import np
from projects.ingest import issues, labels, restored, splits, statistics, stored
from projects.ingest.checks import registry as checks
from projects.ingest.checks.check import Check, Found
from projects.ingest.checks.near_rows import NearRows
from projects.ingest.formats import (
    SPLITS,
    TABLE_TASK,
    UNLABELLED,
    BadFile,
    Plan,
    Row,
)

UNLIKE = 0.9  # of a table's rows: with fewer unlike ones, equal rows are natural in it

LARGE = 0.02  # of all rows: more that are near each other are made by a template, and divided

READING, DIVIDING, WRITING, STORING = "Reading rows", "Checking rows", "Writing rows", "Storing"
LOOKING = "Looking for issues"

Beat = Callable[[str, float], None]  # what is done now, and how far it is, 0 to 1


class Source(ABC):
    """Rows, and what must be known to store them."""

    plan: Plan
    columns: list[dict[str, str]]  # of the stored file, as `DatasetVersion.columns`
    measures: tuple[str, ...]  # names of `Row.measures`
    shares: dict[str, float]  # of splits that are made here
    seed: int
    is_one_text: bool = False
    divides: bool = True  # whether rows whose split is given may still be divided further
    nothing = "Not a single row could be read: every one is empty or was left out."

    @abstractmethod
    def rows(self, tally: issues.Tally) -> Iterator[tuple[Row, str, float]]:
        """Every row with its source and the share of the work that is done. Raises BadFile."""

    #: Says what is done now while rows are awaited; set before they are asked for.
    beat: Beat = staticmethod(lambda stage, fraction: None)

    @abstractmethod
    def row_size(self, row: Row) -> int:
        """Bytes that a row takes in memory, roughly."""

    def told(self) -> dict[str, Any]:
        """What statistics say beside what was counted; asked after the last row."""
        return {}


def made(source: Source, folder: Path, beat: Beat) -> dict[str, Any]:
    """The fields that a ready version has; its file is in storage. `folder` is for working in.

    Raises BadFile for rows of which no dataset can be made.
    """
    plan, columns = source.plan, source.columns
    draft = stored.Draft(folder / "draft.arrow", columns)
    tally = issues.Tally()
    summary = statistics.Statistics(source.measures, plan.others)
    table = _Columns(labels.of(plan), _group_place(columns))
    source.beat = beat
    looking = checks.suiting(plan, columns, source.measures)
    try:
        return _made(source, folder, beat, (draft, tally, summary, table, looking))
    finally:
        for one in looking:
            one.close()


def _made(
    source: Source,
    folder: Path,
    beat: Beat,
    tools: tuple[stored.Draft, issues.Tally, statistics.Statistics, _Columns, list[Check]],
) -> dict[str, Any]:
    plan, columns = source.plan, source.columns
    draft, tally, summary, table, looking = tools
    for row, place, fraction in source.rows(tally):
        table.add(row)
        draft.add(row, place, source.row_size(row))
        summary.meet(row.measures, row.kind, row.others)
        for check in looking:
            check.meet(len(table) - 1, row)
        for code in row.remarks:
            tally.row(code, len(table) - 1)
        beat(READING, 0.7 * fraction)
    draft.close()
    if not len(table):
        raise BadFile(source.nothing)

    beat(DIVIDING, 0.7)
    told = table.labels
    keys = np.frombuffer(table.keys, dtype=np.int64)
    repeats = plan.task == TABLE_TASK and len(np.unique(keys)) < UNLIKE * len(keys)
    together = np.arange(len(keys)) if repeats else keys
    nearness = next((one for one in looking if isinstance(one, NearRows)), None)
    near = None if nearness is None else nearness.groups(keys)
    if nearness is not None and near is not None and nearness.keeps_together:
        together = splits.joined(together, _few(near))
    groups = np.frombuffer(table.groups, dtype=np.int64)
    if len(groups):
        together = splits.joined(together, groups)
    given = np.frombuffer(table.splits, dtype=np.int8)
    if source.divides or (given == splits.NONE).any():
        assigned, how = splits.assign(given, told.strata, together, source.shares, source.seed)
    else:
        assigned, how = given, "As given."
    if source.is_one_text:
        how = "In the order of the text: train, then validation, then test."
    wants = plan.task not in UNLABELLED
    exact = np.frombuffer(table.exact, dtype=np.int64)
    issues.between_rows(tally, assigned, told, keys, exact, repeats=repeats, wants_labels=wants)
    if len(groups):
        issues.between_groups(tally, assigned, groups)
    for name in plan.columns.get("ignored", []):
        tally.place("ignored_column", name)

    target = folder / "rows.parquet"
    for done in stored.write(draft, target, assigned):
        beat(WRITING, 0.75 + 0.1 * done / len(table))
    found = Found(target, tally, assigned, told, keys, near, beat=lambda: beat(LOOKING, 0.85))
    for check in looking:
        beat(LOOKING, 0.85)
        check.finish(found)
    fingerprint = stored.fingerprint(target)
    beat(STORING, 0.95)
    blob = storage.put(target)
    return {
        "file_sha256": blob.sha256,
        "file_bytes": blob.bytes,
        "fingerprint": fingerprint,
        "rows": len(table),
        "columns": columns,
        "labels": told.names,
        "splits": _split_counts(assigned, told),
        "statistics": summary.summary()
        | told.summary()
        | {"columns": statistics.of_columns(target, columns)}
        | {"how_split": how}
        | found.told
        | source.told(),
        "issues": tally.report(),
        "issue_rows": tally.beyond(),
    }


def _few(near: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """`[rows]`: the group of each row, ALONE where it is near none, or near very many."""
    sizes = np.bincount(near)[near]
    fits = (sizes > 1) & (sizes <= max(10, LARGE * len(near)))
    return np.where(fits, near + 1, splits.ALONE)


class _Columns:
    """What must be known of all rows at once: some 21 bytes a row, and 8 where they have groups."""

    def __init__(self, told: labels.Labels, group_place: int | None) -> None:
        self.keys = array("q")
        self.exact = array("q")
        self.groups = array("q")
        self.group_place = group_place  # among the kept columns
        self.splits = array("b")
        self.labels = told

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, row: Row) -> None:
        self.keys.append(int.from_bytes(row.key, "little", signed=True))
        encoded = row.input if isinstance(row.input, bytes) else row.input.encode()
        exact = hashlib.blake2b(encoded, digest_size=8).digest()
        self.exact.append(int.from_bytes(exact, "little", signed=True))
        if self.group_place is not None:
            group = row.others[self.group_place]
            self.groups.append(splits.ALONE if group is None else _number_of(str(group)))
        self.splits.append(splits.NONE if row.split is None else SPLITS.index(row.split))
        self.labels.add(row.label)


def _group_place(columns: list[dict[str, str]]) -> int | None:
    """Where the column stands, among the kept ones, that says what a row belongs to."""
    roles = [one["role"] for one in columns if one["role"] in restored.KEPT]
    return roles.index("group") if "group" in roles else None


def _number_of(group: str) -> int:
    digest = hashlib.blake2b(group.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little", signed=True)


def _split_counts(assigned: np.ndarray[Any, Any], told: labels.Labels) -> dict[str, Any]:
    """{split: {"rows", "label_counts"}} of the splits that have rows; `labelled` of numbers."""
    counts: dict[str, Any] = {}
    rows, classes = told.classes
    names, known = told.names, told.same >= 0
    for index, name in enumerate(SPLITS):
        here = assigned == index
        if here.any():
            by_class = Counter(classes[here[rows]].tolist())
            counts[name] = {
                "rows": int(here.sum()),
                "labelled": int((here & known).sum()),
                "label_counts": {names[one]: by_class[one] for one in sorted(by_class)},
            }
    return counts
