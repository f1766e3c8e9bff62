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
from projects.services import datasets, drifted_rows

pc, pq = Later("pyarrow.compute"), Later("pyarrow.parquet")

HOW = {
    "random": "At random",
    "uncertain": "Where the teacher is least sure",
    "disagreement": "Where two columns, or two teachers' probabilities, disagree",
    "drifted": "Least like those of another version or split",
    "first": "In their order",
}
DRIFTED = "drifted"
#: Chosen by what a finished run answered (training's services/run_reviews.py).
OF_A_RUN = {
    "student_wrong": "Where the student is wrong",
    "student_unsure": "Where the student is least sure",
    "student_teacher": "Where student and teacher disagree",
}
#: Chosen by what two runs answered (training's services/disagreement.py).
OF_TWO_RUNS = {"two_runs": "Where two runs disagree"}
#: Chosen one by one, of the rows that a run was judged by.
NAMED = {"named": "Rows that were chosen one by one"}
#: Chosen among what a monitor was sent (training's services/live_reviews.py).
OF_A_MONITOR = {"live": "Live rows, first those where somebody contradicts the student"}
EVERY = HOW | OF_A_RUN | OF_TWO_RUNS | NAMED | OF_A_MONITOR
ALL = "*"  # `p_*` names every column that begins so: the probabilities of a teacher
SURE = "teacher_confidence"  # the column that the operation `annotate` writes


@dataclass(frozen=True, slots=True)
class Chosen:
    row_id: int
    priority: float
    label: str | None
    said: dict[str, Any] | None = None  # what a run answered


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
    ids = _matching(version, wanted)
    read = [one for names in needed for one in names]
    table = _columns(version, read).take(ids)
    priorities = _priorities(table, how, needed)
    if how == "random":
        drawn = Random(seed)  # noqa: S311 - it chooses rows
        places = drawn.sample(range(len(ids)), min(many, len(ids)))
    else:
        ranked = np.argsort(-priorities, kind="stable")  # equal ones in the order of the file
        places = [int(one) for one in ranked if np.isfinite(priorities[one])][:many]
    if not places:
        raise refuse("conditions", "No row is like that.")
    labels = _labels(table, places)
    return [
        Chosen(int(ids[place]), float(priorities[place]), label)
        for place, label in zip(places, labels, strict=True)
    ]


def choose_drifted(
    version: DatasetVersion, *, many: int, wanted: Mapping[str, Any], named: str
) -> tuple[list[Chosen], dict[str, Any]]:
    """(rows that look least like those of the reference, first those that do so most; what is told
    of how they were chosen). Raises Invalid and Missing."""
    reference = drifted_rows.reference_of(version, named)
    found = drifted_rows.look(version, _matching(version, wanted), reference)
    first = np.argsort(-found.probabilities, kind="stable")[:many]
    rows, unlike = found.rows[first], found.probabilities[first]
    labels = _labels(_columns(version, []), rows)
    chosen = [
        Chosen(int(row), float(one), label)
        for row, one, label in zip(rows, unlike, labels, strict=True)
    ]
    return chosen, {"reference": str(reference), "separation": round(found.separation, 4)}


def _matching(version: DatasetVersion, wanted: Mapping[str, Any]) -> Any:
    found_by = conditions.filter_of(version, wanted)
    with datasets.open_file(version=version) as stream:
        return page.matching(stream, found_by, key=version.file_sha256)


def _columns(version: DatasetVersion, read: list[str]) -> Any:
    """These columns of all rows, and the labels where there are any."""
    with datasets.open_file(version=version) as stream:
        file = pq.ParquetFile(stream)
        own = ["label"] if "label" in file.schema_arrow.names else []
        return file.read(columns=list(dict.fromkeys([*own, *read])))


def _labels(table: Any, places: Any) -> list[str | None]:
    if "label" not in table.column_names:
        return [None] * len(places)
    found: list[str | None] = table["label"].take(places).to_pylist()
    return found


def sets(version: DatasetVersion) -> dict[str, list[str]]:
    """{`big_*`: its columns}: sets of columns whose names differ in how they begin alone, so that
    each may be the probabilities of one teacher."""
    found: dict[str, dict[str, str]] = {}
    for name in conditions.comparable(version):
        for place in (at for at, letter in enumerate(name) if letter in "_.-"):
            found.setdefault(name[: place + 1], {})[name[place + 1 :]] = name
    ends = [frozenset(one) for one in found.values()]
    return {
        f"{start}{ALL}": list(columns.values())
        for start, columns in sorted(found.items())
        if len(columns) > 1 and ends.count(frozenset(columns)) > 1
    }


def _needed(version: DatasetVersion, how: str, columns: list[str]) -> list[list[str]]:
    """The columns that the order is made from: of disagreement what the one says and what the
    other says, else each by itself. Raises Invalid."""
    types = {one["name"]: one["type"] for one in version.columns}
    named = [_named(version, name) for name in columns]
    if how == "disagreement":
        if len(columns) != 2 or columns[0] == columns[1]:
            raise refuse("columns", "Name the two columns that are compared.")
        if len(named[0]) > 1 or len(named[1]) > 1:
            return _same_ends(columns, named)
        first, second = (types[one[0]] in conditions.NUMBERS for one in named)
        if first != second:
            raise refuse("columns", "One of them holds numbers and the other does not.")
        return named
    if how != "uncertain":
        if columns:
            raise refuse("columns", "Columns are named for uncertain rows and disagreement only.")
        return []
    if not named:
        found = list(version.soft_labels.values()) or [one for one in [SURE] if one in types]
        if not found:
            raise refuse(
                "columns",
                "Nothing says how sure a teacher is. Have a teacher label the rows, or name a "
                "column of numbers.",
            )
        named = [[one] for one in found]
    return named


def _named(version: DatasetVersion, name: str) -> list[str]:
    """The column of this name, or all that begin with what stands before a star."""
    known = conditions.comparable(version)
    found = [name] if name in known else []
    if not found and name.endswith(ALL):
        found = [one for one in known if one.startswith(name[:-1])]
    if not found:
        raise refuse("columns", f"There is no column {name!r} to compare.")
    return found


def _same_ends(columns: list[str], named: list[list[str]]) -> list[list[str]]:
    """Both sets in one order, by how their names end. Raises Invalid."""
    ends = [
        {one.removeprefix(start.removesuffix(ALL)): one for one in found}
        for start, found in zip(columns, named, strict=True)
    ]
    if ends[0].keys() != ends[1].keys():
        said = ", ".join(sorted(ends[0].keys() ^ ends[1].keys()))[:200]
        raise refuse("columns", f"Only one of them has a column for {said}.")
    return [[one[end] for end in ends[0]] for one in ends]


def _priorities(table: Any, how: str, columns: list[list[str]]) -> Any:
    """float [rows]: more is earlier; -inf leaves the row out."""
    if how in ("random", "first"):
        return np.zeros(table.num_rows)
    if how == "uncertain":
        named = [one for names in columns for one in names]
        values = np.stack([_numbers(table[name]) for name in named])
        known = np.isfinite(values).any(axis=0)
        if table.num_rows and not known.any():
            raise refuse("columns", f"{', '.join(named)[:200]} holds no numbers.")
        best = np.where(np.isfinite(values), values, -np.inf).max(axis=0)
        return np.where(known, 1.0 - best, -np.inf)
    if len(columns[0]) > 1:
        return _apart(*(np.stack([_numbers(table[name]) for name in one]) for one in columns))
    first, second = (table[one[0]] for one in columns)
    if str(first.type) == "string":
        differs = np.asarray(pc.fill_null(pc.not_equal(first, second), False))
        return np.where(differs, 1.0, -np.inf)
    apart = np.abs(_numbers(first) - _numbers(second))
    return np.where(apart > 0, apart, -np.inf)


def _apart(first: Any, second: Any) -> Any:
    """float [rows], of `[labels, rows]` probabilities: where the likeliest labels differ, how far
    the two are apart: Jensen and Shannon's divergence (Lin 1991, equation 3.4), in nats."""
    known = np.isfinite(first).all(axis=0) & np.isfinite(second).all(axis=0)
    pair = [np.where(known, np.maximum(one, 0.0), 1.0) for one in (first, second)]
    sums = [one.sum(axis=0) for one in pair]
    known &= (sums[0] > 0) & (sums[1] > 0)
    pair = [one / np.where(total > 0, total, 1.0) for one, total in zip(pair, sums, strict=True)]
    middle = (pair[0] + pair[1]) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = [np.where(one > 0, one * np.log(one / middle), 0.0) for one in pair]
    divergence = (parts[0] + parts[1]).sum(axis=0) / 2
    differs = pair[0].argmax(axis=0) != pair[1].argmax(axis=0)
    return np.where(known & differs, divergence, -np.inf)


def _numbers(column: Any) -> Any:
    """float [rows], NaN where there is none."""
    return np.array([_number(one) for one in column.to_pylist()], dtype=np.float64)


def _number(value: Any) -> float:
    """Kept columns of a table hold what they held there: words, of which some are numbers."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
