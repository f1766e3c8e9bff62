"""Counters that meet every row once, and what they say afterwards. Exact, in bounded memory:
lengths and sizes take few different values, however many the rows."""

from collections import Counter
from typing import Any

import numpy as np

QUANTILES = (5, 25, 50, 75, 95, 99)  # per cent
BINS = 30


class Statistics:
    def __init__(self, measures: tuple[str, ...], others: tuple[str, ...]) -> None:
        self.measures = {name: Counter[int]() for name in measures}
        self.kinds: Counter[str] = Counter()
        self.missing = dict.fromkeys(others, 0)

    def meet(self, measures: tuple[int, ...], kind: str, others: tuple[str | None, ...]) -> None:
        for counter, value in zip(self.measures.values(), measures, strict=True):
            counter[value] += 1
        if kind:
            self.kinds[kind] += 1
        for name, other in zip(self.missing, others, strict=True):
            if other is None:
                self.missing[name] += 1

    def summary(self) -> dict[str, Any]:
        """{"measures": {name: {...}}, "kinds": {mode: rows}, "missing": {column: rows}}"""
        return {
            "measures": {name: describe(counter) for name, counter in self.measures.items()},
            "kinds": dict(self.kinds.most_common()),
            "missing": self.missing,
        }


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
