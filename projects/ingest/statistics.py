"""Counters that meet every row once, and what they say afterwards. Exact, in bounded memory:
lengths and sizes take few different values, however many the rows. A table's columns are looked at
one by one in the stored file."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

from distillhub.lib.later import Later, np

pc, pq = Later("pyarrow.compute"), Later("pyarrow.parquet")

QUANTILES = (5, 25, 50, 75, 95, 99)  # per cent
BINS = 30
#: Of pictures, and how far from one a picture may be.
RATIOS = ((1, 1), (5, 4), (4, 3), (3, 2), (16, 9), (2, 1), (3, 1))
SAME_RATIO = 0.02
MOST_WORDS = 20  # of a column, the most frequent


class Statistics:
    def __init__(self, measures: tuple[str, ...], others: tuple[str, ...]) -> None:
        self.measures = {name: Counter[int]() for name in measures}
        self.kinds: Counter[str] = Counter()
        self.missing = dict.fromkeys(others, 0)
        self.shapes: Counter[str] = Counter()
        self._has_shapes = measures[:2] == ("width", "height")

    def meet(self, measures: tuple[int, ...], kind: str, others: tuple[Any, ...]) -> None:
        for counter, value in zip(self.measures.values(), measures, strict=True):
            counter[value] += 1
        if kind:
            self.kinds[kind] += 1
        if self._has_shapes:
            self.shapes[shape(*measures[:2])] += 1
        for name, other in zip(self.missing, others, strict=True):
            if other is None:
                self.missing[name] += 1

    def summary(self) -> dict[str, Any]:
        """{"measures": {name: {...}}, "kinds": {mode: rows}, "missing": {column: rows}}"""
        return {
            "measures": {name: describe(counter) for name, counter in self.measures.items()},
            "kinds": dict(self.kinds.most_common()),
            "shapes": dict(self.shapes.most_common()),
            "missing": self.missing,
        }


@lru_cache(maxsize=1024)
def shape(width: int, height: int) -> str:
    """The ratio of width to height as people call it."""
    ratio = max(width, height) / min(width, height)
    for wide, tall in RATIOS:
        if abs(ratio / (wide / tall) - 1) <= SAME_RATIO:
            return f"{wide}:{tall}" if width >= height else f"{tall}:{wide}"
    return "other, wide" if width > height else "other, tall"


def describe(counter: Counter[int]) -> dict[str, Any]:
    """Minimum, mean, maximum, quantiles (nearest rank) and a histogram of counted values.

    The histogram has at most BINS bins up to the 99th percentile; its last bin holds the rest.
    """
    if not counter:
        return {}
    values = np.array(sorted(counter), dtype=np.int64)
    counts = np.array([counter[int(value)] for value in values], dtype=np.int64)
    cumulated = np.cumsum(counts)
    total = int(cumulated[-1])

    def quantile(percent: int) -> int:
        rank = max(1, -(-total * percent // 100))
        return int(values[int(np.searchsorted(cumulated, rank))])

    low, high = int(values[0]), max(quantile(99), int(values[0]) + 1)
    width = max(1, -(-(high - low + 1) // BINS))
    edges = np.arange(low, high + width + 1, width)
    places = np.minimum((values - low) // width, len(edges) - 2)
    bins = np.bincount(places, weights=counts, minlength=len(edges) - 1).astype(int)
    return {
        "minimum": low,
        "mean": round(float((values * counts).sum() / total), 2),
        "maximum": int(values[-1]),
        "quantiles": {str(percent): quantile(percent) for percent in QUANTILES},
        "histogram": {"edges": edges.tolist(), "counts": bins.tolist()},
    }


def of_columns(path: Path, columns: list[dict[str, str]]) -> dict[str, dict[str, Any]]:
    """What a table's columns hold, by their names in the stored file, and of a label that is a
    number, too: {"kind": "numeric", "missing", and what `describe_numbers` says} or {"kind":
    "categorical", "missing", "distinct", "most": [[word, rows]]}."""
    file = pq.ParquetFile(str(path))
    found = {}
    for one in columns:
        if one["role"] == "feature":
            column = file.read(columns=[one["name"]]).column(0)
            numeric = one["type"] == "number"
            found[one["name"]] = _numeric(column) if numeric else _categorical(column)
    return found


def _numeric(column: Any) -> dict[str, Any]:
    values = np.asarray(column.drop_null(), dtype=np.float64)
    return {"kind": "numeric", "missing": column.null_count} | describe_numbers(values)


def _categorical(column: Any) -> dict[str, Any]:
    counted = pc.value_counts(column.drop_null()).to_pylist()
    counted.sort(key=lambda one: (-one["counts"], one["values"]))
    return {
        "kind": "categorical",
        "missing": column.null_count,
        "distinct": len(counted),
        "most": [[one["values"], one["counts"]] for one in counted[:MOST_WORDS]],
    }


def describe_numbers(values: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Minimum, mean, deviation, maximum, quantiles and a histogram of BINS even bins between the
    1st and the 99th percentile, whose first and last bin hold what lies beyond."""
    if not len(values):
        return {}
    low, high = (float(one) for one in np.quantile(values, [0.01, 0.99]))
    edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), bins=edges)[0]
    quantiles = np.quantile(values, [one / 100 for one in QUANTILES])
    return {
        "minimum": float(values.min()),
        "mean": _short(values.mean()),
        "deviation": _short(values.std()),
        "maximum": float(values.max()),
        "quantiles": {
            str(percent): _short(value) for percent, value in zip(QUANTILES, quantiles, strict=True)
        },
        "histogram": {"edges": [_short(one) for one in edges], "counts": counts.tolist()},
    }


def _short(value: Any) -> float:
    return float(f"{float(value):.6g}")
