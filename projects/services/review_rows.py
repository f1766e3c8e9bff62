"""Which rows of a version people are to look at, and in which order."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from distillhub.lib.later import Later, np
from projects.ingest import page
from projects.models import DatasetVersion
from projects.operations import conditions
from projects.operations.operation import refuse
from projects.services import datasets

pc, pq = Later("pyarrow.compute"), Later("pyarrow.parquet")

HOW = {
    "random": "At random",
    "uncertain": "Where the teacher is least sure",
    "disagreement": "Where two columns disagree",
    "first": "In their order",
}
SURE = "teacher_confidence"  # the column that the operation `annotate` writes


@dataclass(frozen=True, slots=True)
class Chosen:
    row_id: int
    priority: float
    label: str | None


def choose(
    version: DatasetVersion,
    *,
    how: str,
    many: int,
    seed: int,
    columns: list[str],
    wanted: Mapping[str, Any],
) -> list[Chosen]:
    """At most `many` rows that the conditions `wanted` hold for. Raises Invalid and Missing."""
    needed = _needed(version, how, columns)
    found_by = conditions.filter_of(version, wanted)
    with datasets.open_file(version=version) as stream:
        ids = page.matching(stream, found_by, key=version.file_sha256)
        stream.seek(0)
        file = pq.ParquetFile(stream)
        own = ["label"] if "label" in file.schema_arrow.names else []
        table = file.read(columns=list(dict.fromkeys([*own, *needed]))).take(ids)
    priorities = _priorities(table, how, needed)
    if how == "random":
        drawn = Random(seed)  # noqa: S311 - it chooses rows
        places = drawn.sample(range(len(ids)), min(many, len(ids)))
    else:
        ranked = np.argsort(-priorities, kind="stable")  # equal ones in the order of the file
        places = [int(one) for one in ranked if np.isfinite(priorities[one])][:many]
    if not places:
        raise refuse("conditions", "No row is like that.")
    labels = table["label"].take(places).to_pylist() if own else [None] * len(places)
    return [
        Chosen(int(ids[place]), float(priorities[place]), label)
        for place, label in zip(places, labels, strict=True)
    ]


def _needed(version: DatasetVersion, how: str, columns: list[str]) -> list[str]:
    """The columns that the order is made from. Raises Invalid."""
    types = {one["name"]: one["type"] for one in version.columns}
    for name in columns:
        if name not in conditions.comparable(version):
            raise refuse("columns", f"There is no column {name!r} to compare.")
    if how == "disagreement":
        if len(columns) != 2 or columns[0] == columns[1]:
            raise refuse("columns", "Name the two columns that are compared.")
        first, second = (types[name] in conditions.NUMBERS for name in columns)
        if first != second:
            raise refuse("columns", "One of them holds numbers and the other does not.")
        return columns
    if how != "uncertain":
        if columns:
            raise refuse("columns", "Columns are named for uncertain rows and disagreement only.")
        return []
    if not columns:
        columns = list(version.soft_labels.values()) or [one for one in [SURE] if one in types]
        if not columns:
            raise refuse(
                "columns",
                "Nothing says how sure a teacher is. Have a teacher label the rows, or name a "
                "column of numbers.",
            )
    return columns


def _priorities(table: Any, how: str, columns: list[str]) -> Any:
    """float [rows]: more is earlier; -inf leaves the row out."""
    if how in ("random", "first"):
        return np.zeros(table.num_rows)
    if how == "uncertain":
        values = np.stack([_numbers(table[name]) for name in columns])
        known = np.isfinite(values).any(axis=0)
        if table.num_rows and not known.any():
            raise refuse("columns", f"{', '.join(columns)[:200]} holds no numbers.")
        best = np.where(np.isfinite(values), values, -np.inf).max(axis=0)
        return np.where(known, 1.0 - best, -np.inf)
    first, second = (table[name] for name in columns)
    if str(first.type) == "string":
        differs = np.asarray(pc.fill_null(pc.not_equal(first, second), False))
        return np.where(differs, 1.0, -np.inf)
    apart = np.abs(_numbers(first) - _numbers(second))
    return np.where(apart > 0, apart, -np.inf)


def _numbers(column: Any) -> Any:
    """float [rows], NaN where there is none."""
    return np.array([_number(one) for one in column.to_pylist()], dtype=np.float64)


def _number(value: Any) -> float:
    """Kept columns of a table hold what they held there: words, of which some are numbers."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
