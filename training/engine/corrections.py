"""Many signals tested at once: p-values raised so that chance alone raises few alarms.

Without them, twenty columns an hour tested at .05 give hundreds of alarms a month of nothing.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

P = float | None


def bonferroni(values: Sequence[P]) -> list[P]:
    """Times the number of tests: the chance of one false alarm among all stays below the level."""
    return _adjusted(values, lambda sorted_, many: [p * many for p in sorted_])


def holm(values: Sequence[P]) -> list[P]:
    """As sure as Bonferroni, and never weaker (Holm, A Simple Sequentially Rejective Multiple Test
    Procedure, Scandinavian Journal of Statistics 1979)."""

    def stepped(sorted_: list[float], many: int) -> list[float]:
        raised = [p * (many - at) for at, p in enumerate(sorted_)]
        return [float(one) for one in np.maximum.accumulate(raised)]

    return _adjusted(values, stepped)


def benjamini_hochberg(values: Sequence[P]) -> list[P]:
    """The share of false ones among the alarms stays below the level, of tests that are independent
    or move together (Benjamini, Hochberg, JRSS B 1995; Benjamini, Yekutieli, Annals of Statistics
    2001)."""

    def stepped(sorted_: list[float], many: int) -> list[float]:
        raised = [p * many / (at + 1) for at, p in enumerate(sorted_)]
        return [float(one) for one in np.minimum.accumulate(raised[::-1])[::-1]]

    return _adjusted(values, stepped)


CORRECTIONS: Mapping[str, Callable[[Sequence[P]], list[P]]] = {
    "holm": holm,
    "benjamini_hochberg": benjamini_hochberg,
    "bonferroni": bonferroni,
}


def _adjusted(values: Sequence[P], raise_: Callable[[list[float], int], list[float]]) -> list[P]:
    """In the order given; a signal without a p-value has none, and is no test."""
    known = [(p, at) for at, p in enumerate(values) if p is not None]
    known.sort()
    found: list[P] = [None] * len(values)
    raised = raise_([p for p, _ in known], len(known)) if known else []
    for (_, at), p in zip(known, raised, strict=True):
        found[at] = min(1.0, p)
    return found
