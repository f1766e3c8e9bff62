"""How many rows came, against earlier windows of the same hour."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from training.engine.detectors.chance import AtLevel
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector

FEWEST = 6  # earlier windows, below which nothing is usual
MOST_EFFECT = 10.0  # doublings; nothing at all is infinitely many
OUTAGES = 0.02  # of earlier windows that are passed over where they are farthest off
KEPT = 0.873  # what a square of the normal law comes to on average without its largest 2 %
SURE = 0.999  # at which a spread that was learnt from few windows is taken for wider
TOO_FEW = f"Fewer than {FEWEST} earlier windows tell what is usual."


@DETECTORS.register
class Volume(WindowDetector):
    """Counts of rows that come apart from each other are Poisson's; those of traffic vary more, by
    a share of themselves: the negative binomial law. That share is learnt from all hours at once,
    so that a window is judged though its own hour was seen four times."""

    key = "volume"
    label = "Volume"
    summary = (
        "Whether more or fewer rows came than in earlier windows of the same hour of the week, of "
        "the day, or of late, whichever has enough of them. How much traffic varies is learnt from "
        "the windows of all hours, without the worst outages."
    )
    formula = "P(x | μ, φ), variance (μ + φ μ²)(1 + 1/n), two-sided"
    paper = "Farrington et al., Early detection of outbreaks, JRSS A 1996; Hilbe 2011"
    watches = ("traffic",)
    takes = ("counts",)
    unit = "rows"
    effect_unit = "doublings or halvings"
    Options = AtLevel

    def score(self, reference: Sequence[Sequence[float]], live: float) -> Score:
        """Rows of earlier windows, in groups that are alike; the first group is like this window.
        And its own rows."""
        groups = [np.asarray(one, dtype=np.float64) for one in reference]
        if not groups or not len(groups[0]) or sum(map(len, groups)) < FEWEST:
            return Score.no_data(TOO_FEW)
        mean = float(groups[0].mean())
        spread = dispersion(groups)
        variance = (mean + spread * mean**2) * (1 + 1 / len(groups[0]))
        law = _Law(mean, variance)
        low, high = law.quantile(self.options.level / 2), law.quantile(1 - self.options.level / 2)
        facts: dict[str, Any] = {
            "usual": mean,
            "low": low,
            "high": high,
            "windows": len(groups[0]),
            "rose": live > mean,
        }
        effect = min(MOST_EFFECT, abs(math.log2((live + 0.5) / (mean + 0.5))))
        limit = high if live > mean else low
        return Score(float(live), law.p(live), effect, limit, facts)


def dispersion(groups: Sequence[Any]) -> float:
    """φ: how much more than Poisson's law counts vary around the mean of their group, as a share of
    its square. Of few windows it is taken for larger."""
    known = [one for one in groups if len(one) > 1 and one.mean() > 0]
    if not known:
        return 0.0
    squares = np.concatenate(
        [np.square(one - one.mean()) * len(one) / (len(one) - 1) / one.mean() ** 2 for one in known]
    )
    poisson = np.concatenate([np.full(len(one), 1 / one.mean()) for one in known])
    degrees = max(1, len(squares) - len(known))
    ratio = squares / np.maximum(poisson, 1e-12)
    stay = ratio <= np.quantile(ratio, 1 - OUTAGES)
    trimmed = len(squares) >= 1 / OUTAGES
    found = float((squares[stay] if trimmed else squares).mean()) / (KEPT if trimmed else 1.0)
    wider = float(special.stdtrit(degrees, SURE) / special.ndtri(SURE)) ** 2
    return max(0.0, found * wider - float(poisson.mean()))


class _Law:
    """Negative binomial of this mean and variance; Poisson's where that is not larger."""

    def __init__(self, mean: float, variance: float) -> None:
        self.mean = max(mean, 1e-9)
        over = variance - self.mean
        self.size = self.mean**2 / over if over > 1e-9 * self.mean else None

    def upto(self, rows: float) -> float:
        """P(so many or fewer)."""
        if rows < 0:
            return 0.0
        if self.size is None:
            return float(special.pdtr(math.floor(rows), self.mean))
        share = self.size / (self.size + self.mean)
        return float(special.betainc(self.size, math.floor(rows) + 1, share))

    def p(self, rows: float) -> float:
        return min(1.0, 2 * min(self.upto(rows), self.beyond(rows)))

    def beyond(self, rows: float) -> float:
        """P(so many or more)."""
        if rows <= 0:
            return 1.0
        if self.size is None:
            return float(special.pdtrc(math.floor(rows) - 1, self.mean))
        share = self.size / (self.size + self.mean)
        return float(special.betaincc(self.size, math.floor(rows), share))

    def quantile(self, share: float) -> float:
        low, high = -1, max(16, math.ceil(self.mean * 2))
        while self.upto(high) < share:
            high *= 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.upto(middle) >= share else (middle, high)
        return float(high)
