"""Many tests at once: what a p is worth when twenty columns were looked at. Plain numpy."""

from collections.abc import Mapping

import numpy as np

CORRECTIONS = ("holm", "benjamini-hochberg")


def corrected(found: Mapping[str, float | None], how: str = "holm") -> dict[str, float | None]:
    """The p of each test, adjusted for all of them, in the given order; those that are None or
    not a number were not made.

    `holm` (1979) keeps the chance of even one false alarm in a window at the level and supposes
    nothing of how tests depend on each other; `benjamini-hochberg` (1995) keeps the share of false
    ones among all that ring, finds more, and supposes that they do not contradict each other.
    Raises ValueError for another way.
    """
    if how not in CORRECTIONS:
        raise ValueError(f"There is no correction {how!r}; it is {' or '.join(CORRECTIONS)}.")
    told = {name: p for name, p in found.items() if p is not None and not np.isnan(p)}
    adjusted: dict[str, float | None] = dict.fromkeys(found)
    if not told:
        return adjusted
    ps = np.array(list(told.values()), dtype=np.float64)
    order = np.argsort(ps, kind="stable")
    rank = np.arange(1, len(ps) + 1)
    if how == "holm":
        rising = np.maximum.accumulate(ps[order] * (len(ps) + 1 - rank))
    else:
        rising = np.minimum.accumulate((ps[order] * len(ps) / rank)[::-1])[::-1]
    names = list(told)
    for place, value in zip(order, np.minimum(rising, 1.0), strict=True):
        adjusted[names[place]] = float(value)
    return adjusted
