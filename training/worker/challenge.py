"""Two versions on the rows that both were tested on: a challenger and its champion.

Both left their answers to test rows when they were evaluated; nothing is asked again. Where they
were trained on one dataset version, a row is known by its id; where not, by what stands in it and
its label: a row that only one of them was tested on says nothing about the other.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from distillhub.lib import storage
from distillhub.lib.errors import DomainError
from distillhub.lib.later import Later, np
from projects.ingest import page
from projects.models import DatasetVersion
from training.models import Run
from training.worker import comparison

parquet = Later("pyarrow.parquet")
paired = Later("training.engine.paired")
row_conditions = Later("projects.operations.conditions")  # brings REST's serializers

JSON = dict[str, Any]

ROWS_AT_ONCE = 2000
FEW = 20  # shared rows of a slice, under which a difference says too little


class Untold(Exception):
    """They cannot be compared, for a reason in a sentence."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What each row that both answered is worth, `[rows]` each, by the challenger's row ids."""

    run: Run
    ids: Any  # int64
    ours: Any  # float64
    theirs: Any
    measure: comparison.Measure
    split: str

    def whole(self) -> JSON:
        """As engine/paired.py tells a difference: ours less theirs."""
        found: JSON = paired.differences(self.ours, self.theirs, falls=self.measure.falls)
        return found

    def on(self, conditions: JSON) -> JSON | None:
        """The same on the rows of a slice, with `few` where they are too few to say anything; None
        where there is none, or the version does not know what the conditions name."""
        version = self.run.data
        try:
            wanted = row_conditions.filter_of(version, conditions)
        except DomainError:
            return None
        with storage.open_blob(version.file_sha256) as stream:
            rows = page.matching(stream, wanted, key=version.file_sha256)
        where = np.isin(self.ids, rows)
        if not where.any():
            return None
        found: JSON = paired.differences(
            self.ours[where], self.theirs[where], falls=self.measure.falls
        )
        return found | {"few": int(where.sum()) < FEW}


def between(challenger: Run, champion: Run) -> Challenge:
    """Raises Untold, and storage.Damaged and storage.Away."""
    if challenger.task != champion.task:
        raise Untold(f"Run {champion.number} is about another task.")
    measure = comparison.measure_of(challenger)
    if comparison.measure_of(champion) != measure:
        raise Untold(f"Run {champion.number} is judged by something else.")
    ours, theirs = _worth(challenger), _worth(champion)
    if ours.split != theirs.split:
        raise Untold(
            f"Run {challenger.number} was judged on {ours.split} rows, run {champion.number} on "
            f"{theirs.split} rows."
        )
    if _same_rows(challenger.data, champion.data):
        pairs = [(row, row) for row in sorted(ours.rows.keys() & theirs.rows.keys())]
    else:
        known = _by_content(champion.data, theirs.rows)
        here = _by_content(challenger.data, ours.rows)
        pairs = sorted((here[one], known[one]) for one in here.keys() & known.keys())
    if not pairs:
        raise Untold(
            f"No row of {challenger.data.reference} that run {challenger.number} was tested on is "
            f"one that run {champion.number} was tested on."
        )
    return Challenge(
        challenger,
        np.array([row for row, _ in pairs], dtype=np.int64),
        np.array([ours.rows[row] for row, _ in pairs], dtype=np.float64),
        np.array([theirs.rows[row] for _, row in pairs], dtype=np.float64),
        measure,
        ours.split,
    )


def _worth(run: Run) -> comparison.Worth:
    if run.dataset_version is None:
        raise Untold(f"Run {run.number} was trained elsewhere, on rows that are not here.")
    found = comparison.worth_of(run)
    if found is None or not found.rows:
        raise Untold(f"Run {run.number} has left no answers to test rows.")
    return found


def _same_rows(one: DatasetVersion, other: DatasetVersion) -> bool:
    return one.pk == other.pk or (bool(one.fingerprint) and one.fingerprint == other.fingerprint)


def _by_content(version: DatasetVersion, rows: dict[int, float]) -> dict[str, int]:
    """Of these rows {what stands in one, as a digest: its id}; of several alike the first."""
    names = ("prompt", "text", "image", "audio", *sorted(version.features), "label")
    found: dict[str, int] = {}
    with storage.open_blob(version.file_sha256) as stream:
        file = parquet.ParquetFile(stream)
        there = set(file.schema_arrow.names)
        wanted = [name for name in names if name in there]
        for group in range(file.num_row_groups):
            for piece in file.iter_batches(
                ROWS_AT_ONCE, row_groups=[group], columns=["row_id", *wanted]
            ):
                for row in piece.to_pylist():
                    if row["row_id"] in rows:
                        found.setdefault(_digest([row[name] for name in wanted]), row["row_id"])
    return found


def _digest(values: list[Any]) -> str:
    digest = hashlib.sha256()
    for value in values:
        content = value if isinstance(value, bytes) else repr(value).encode()
        digest.update(len(content).to_bytes(8, "big"))
        digest.update(content)
    return digest.hexdigest()
