"""How good student and teacher are on parts of a split: by a column, or by the length of a text.

Numbers fall into quarters of the split's rows, other values each into a part of its own.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from training.engine import data, paired, shares
from training.engine.data import Dataset, Indices
from training.engine.errors import ConfigError, Fault
from training.engine.generation import Judged
from training.engine.predictions import Said, Values

JSON = dict[str, Any]
MOST_PARTS = 12  # of a column of words; rarer values are counted together
MOST_COLUMNS = 8  # of a table that are looked at without being asked for
FEW = 6  # distinct numbers or fewer are told one by one
LENGTH = "length"
ITS_OWN = ("row_id", "split")  # columns that are no property of a row
Parts = list[tuple[str, Indices]]  # a name, and the places within the split's rows


def check(path: Path, asked: Sequence[str]) -> None:
    """Raises ConfigError naming every column that the dataset does not have."""
    there = pq.read_schema(path).names if asked else []
    known = ", ".join(name for name in there if name not in ITS_OWN)
    faults = [
        Fault(f"evaluation.slices.{place}", f"The dataset has no such column; it has {known}.")
        for place, name in enumerate(asked)
        if name not in there
    ]
    if faults:
        raise ConfigError(faults)


def of(
    dataset: Dataset,
    split: str,
    column: str,
    asked: Sequence[str],
    student: Said,
    teacher: Said | None,
) -> list[JSON]:
    """For each column: `{"column", "metric", "parts": [{"name", "rows", "student", "teacher",
    "interval"?}]}`.

    metric is accuracy (where words have labels, the share of right words), or rmse of numbers;
    rows are those that have a label; interval is the student's, at 95 %, where rows are right or
    wrong. `column` is what the task reads. Without any column asked for,
    texts are cut by their length, and tables by their first columns.
    """
    rows = dataset.splits[split]
    if dataset.source is not None:
        rows = dataset.source[rows]
    known = ~np.isnan(student.value)
    names = list(asked) or list(dataset.columns)[:MOST_COLUMNS]
    found: list[JSON] = []
    if not known.any():
        return found
    numbers = dataset.problem == "regression"
    by_row = not numbers and paired.is_binary(student.value[known])

    def worth(said: Said | None, where: Indices) -> float | None:
        values = np.array([]) if said is None else said.value[where]
        values = values[~np.isnan(values)]  # a recorded teacher may have said nothing of a row
        if not len(values):
            return None
        mean = float(values.mean())
        return mean**0.5 if numbers else mean

    def sure(where: Indices) -> list[float]:
        return shares.wilson(float(student.value[where].mean()), len(where))

    def told(name: str, parts: Parts) -> None:
        kept = [(said, where[known[where]]) for said, where in parts]
        lines = [
            {
                "name": said,
                "rows": len(where),
                "student": worth(student, where),
                "teacher": worth(teacher, where),
                **({"interval": sure(where)} if by_row else {}),
            }
            for said, where in kept
            if len(where)
        ]
        if len(lines) > 1:
            found.append(
                {"column": name, "metric": "rmse" if numbers else "accuracy", "parts": lines}
            )

    if column == "text" and not asked:
        lengths = [len(one or "") for one in data.values(dataset.path, column, rows)]
        told(LENGTH, quarters(np.array(lengths, dtype=np.float64), "characters"))
    for name in names:
        told(name, parted(data.values(dataset.path, name, rows)))
    return found


def of_writing(
    dataset: Dataset, asked: Sequence[str], student: Judged, teacher: Judged | None
) -> list[JSON]:
    """The same of networks that write, whose rows are those of the file. metric is
    bits_per_character, or perplexity where tokens stand for no characters. Without any column asked
    for, rows are cut by their tokens that are answers."""
    metric = "bits_per_character" if student.characters.sum() else "perplexity"
    theirs = None if teacher is None else _among(teacher, student.rows)

    def worth(said: Judged | None, where: Indices) -> float | None:
        if said is None or np.isnan(said.nll[where]).any():
            return None
        if metric == "perplexity":
            return math.exp(min(said.nll[where].sum() / said.units[where].sum(), 700.0))
        characters = said.characters[where].sum()
        return float(said.nll[where].sum() / math.log(2) / characters) if characters else None

    cuts = [(LENGTH, quarters(student.units, "tokens"))] if not asked else []
    cuts += [(name, parted(data.values(dataset.path, name, student.rows))) for name in asked]
    found = []
    for name, parts in cuts:
        lines = [
            {
                "name": said,
                "rows": len(where),
                "student": worth(student, where),
                "teacher": worth(theirs, where),
            }
            for said, where in parts
        ]
        lines = [one for one in lines if one["student"] is not None]
        if len(lines) > 1:
            found.append({"column": name, "metric": metric, "parts": lines})
    return found


def _among(judged: Judged, rows: Indices) -> Judged:
    """Its sums in the order of these rows; NaN where it has none, as with another tokenizer."""
    place = {row: at for at, row in enumerate(judged.rows.tolist())}
    at = np.array([place.get(row, -1) for row in rows.tolist()], dtype=np.int64)

    def taken(values: Values) -> Values:
        return np.where(at >= 0, values[at], np.nan)

    return Judged(
        rows=rows,
        units=taken(judged.units),
        characters=taken(judged.characters),
        nll=taken(judged.nll),
        right=taken(judged.right),
        agrees=taken(judged.agrees),
        kl=taken(judged.kl),
    )


def parted(values: Sequence[Any]) -> Parts:
    """The places of a column's values, part by part."""
    filled = [one for one in values if one is not None]
    if filled and all(isinstance(one, int | float) and not isinstance(one, bool) for one in filled):
        numbers = np.array([np.nan if one is None else one for one in values], dtype=np.float64)
        if len(np.unique(numbers[~np.isnan(numbers)])) > FEW:
            return quarters(numbers)
    spelt = np.array(["(empty)" if one is None else _spelt(one) for one in values], dtype=object)
    names, counts = np.unique(spelt.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    shown = names[order[:MOST_PARTS]].tolist()
    parts = [(one, np.flatnonzero(spelt == one)) for one in shown]
    rest = np.flatnonzero(~np.isin(spelt.astype(str), shown))
    return [*parts, ("(all others)", rest)] if len(rest) else parts


def quarters(numbers: Values, unit: str = "") -> Parts:
    """Of like many rows, as far as equal numbers allow; rows without a number apart."""
    there = numbers[~np.isnan(numbers)]
    edges = np.unique(np.quantile(there, [0.25, 0.5, 0.75])) if len(there) else there
    which = np.digitize(numbers, edges, right=True)
    parts: Parts = []
    for place in range(len(edges) + 1):
        inside = np.flatnonzero((which == place) & ~np.isnan(numbers))
        if len(inside):
            low, high = _number(numbers[inside].min()), _number(numbers[inside].max())
            span = low if low == high else f"{low} to {high}"
            parts.append((f"{span} {unit}".strip(), inside))
    without = np.flatnonzero(np.isnan(numbers))
    return [*parts, ("(empty)", without)] if len(without) else parts


def _spelt(value: Any) -> str:
    return _number(value) if isinstance(value, float) else str(value)[:60]


def _number(value: float) -> str:
    """As people write it: `240 979`, `0.0312`; tiny and huge ones with their power of ten."""
    if value and not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3g}"
    if value == round(value) or abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.4g}"
