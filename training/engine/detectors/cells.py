"""Two sketches as counts in the same cells, or a sentence on why there are none."""

from typing import Any

import numpy as np

from training.engine.detectors.chance import Counts
from training.engine.sketches import CategorySketch, NumberSketch

NO_LIVE = "There is no row in this window to compare."
NO_REFERENCE = "There is no row in the reference to compare with."


def lacking(reference: Any, live: Any) -> str:
    """Why nothing can be said of two sketches; empty where something can. Raises ValueError for
    two of other bins or other kinds."""
    if type(reference) is not type(live) or reference.bins != live.bins:
        raise ValueError("These sketches count in different bins: they have two references.")
    if not reference.rows:
        return NO_REFERENCE
    return "" if live.rows else NO_LIVE


def counted(
    reference: Any, live: Any, most: int, *, keep_empty: bool = False
) -> tuple[Counts, Counts]:
    """Counts of both, without cells that are empty in both unless they are kept: of numbers, in at
    most `most` cells that hold about as many rows of the reference; of categories, in all."""
    one, two = reference.counts, live.counts
    if isinstance(reference, NumberSketch) and len(one) > most:
        middle = (np.cumsum(one) - one / 2) / one.sum()
        group = np.minimum((middle * most).astype(np.int64), most - 1)
        one, two = (np.bincount(group, side, most).astype(np.int64) for side in (one, two))
    elif not isinstance(reference, NumberSketch | CategorySketch):
        raise ValueError("Only sketches of numbers and of categories have cells.")
    met = ((one + two) > 0) | keep_empty
    return one[met], two[met]
