"""Kolmogorov-Smirnov, of sketches and of rows."""

import functools
import math
from typing import Any

import numpy as np
from scipy import special

from training.engine.detectors import cells, chance
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.sketches.numbers import usable

USUAL = math.sqrt(math.pi / 2) * math.log(2)  # the mean of the limit distribution
MANY = 5000  # rows: n m / (n + m), from which a series is as good as the sum


@DETECTORS.register
class KolmogorovSmirnov(WindowDetector):
    key = "kolmogorov_smirnov"
    label = "Kolmogorov-Smirnov"
    summary = (
        "The largest difference of two distribution functions. Of sketches it is taken at the "
        "edges of the reference's hundred cells, where it is exact: the whole difference is never "
        "less, and `at_most` says how much more it may be, so that p is never too small. Of rows "
        "it is the exact test."
    )
    formula = "max |F(x) − G(x)|"
    paper = "Smirnov, Annals of Mathematical Statistics 1948; exact p: Hodges 1958"
    watches = ("numbers", "confidence")
    takes = ("sketches", "rows")
    unit = "difference of shares"
    effect_unit = "difference above what chance adds"
    Options = chance.AtLevel

    def score(self, reference: Any, live: Any) -> Score:
        """Two sketches of numbers, or two arrays `[rows]`."""
        if hasattr(reference, "bins") or hasattr(live, "bins"):
            return self._of_sketches(reference, live)
        from scipy import stats  # noqa: PLC0415 - half a second, and not always needed

        one, two = usable(reference)[0], usable(live)[0]
        if not len(one) or not len(two):
            return Score.no_data(cells.NO_LIVE if len(one) else cells.NO_REFERENCE)
        found = stats.ks_2samp(one, two)
        value, p = float(found.statistic), float(found.pvalue)
        return self._score(value, p, len(one), len(two), {"exact": True, "at_most": value})

    def _of_sketches(self, reference: Any, live: Any) -> Score:
        if said := cells.lacking(reference, live):
            return Score.no_data(said)
        value, most = difference(reference.counts, live.counts)
        n, m = reference.rows, live.rows
        p = p_value(value, n, m)
        return self._score(value, p, n, m, {"exact": False, "at_most": most})

    def _score(self, value: float, p: float, n: int, m: int, facts: dict[str, Any]) -> Score:
        usual = USUAL / math.sqrt(n * m / (n + m))
        limit = passed(self.options.level, n, m)
        return Score(value, p, max(0.0, value - usual), limit, facts)


def difference(reference: chance.Counts, live: chance.Counts) -> tuple[float, float]:
    """The largest difference at the edges of cells `[cells]`, and the largest that there can be
    within them."""
    one, two = (np.cumsum(side) / side.sum() for side in (reference, live))
    before = [np.concatenate([[0.0], side[:-1]]) for side in (one, two)]
    most = np.maximum(one - before[1], two - before[0]).max()
    return float(np.abs(one - two).max()), min(1.0, float(most))


def p_value(value: float, n: int, m: int) -> float:
    """As `scipy.stats.ks_2samp(method="asymp")` tells it; of many rows, whose exact sum takes long,
    to a thousandth of itself (Vrbik, Small-Sample Corrections to Kolmogorov-Smirnov Test Statistic,
    2018)."""
    rows = max(1, round(n * m / (n + m)))
    if rows > MANY:
        root = math.sqrt(rows)
        return float(
            special.kolmogorov(value * root + 1 / (6 * root) + (value * root - 1) / 4 / rows)
        )
    from scipy import stats  # noqa: PLC0415 - as above

    return float(stats.kstwo.sf(value, rows))


def passed(level: float, n: int, m: int) -> float:
    """The difference that is passed as rarely as `level`: p_value the other way round."""
    return _passed(level, max(1, round(n * m / (n + m))))


@functools.lru_cache(maxsize=1024)
def _passed(level: float, rows: int) -> float:
    if rows > MANY:
        root = math.sqrt(rows)
        scaled = float(special.kolmogi(level)) - 1 / (6 * root) + 1 / (4 * rows)
        return scaled / (1 + 1 / (4 * rows)) / root
    from scipy import stats  # noqa: PLC0415 - as above

    return float(stats.kstwo.isf(level, rows))
