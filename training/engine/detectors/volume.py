"""How many rows came, against earlier windows of the same hour."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from training.engine.detectors.chance import AtLevel
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector

FEWEST = 4  # earlier windows, below which nothing is usual
POISSON = 0.5  # the standard deviation of the root of a count, whatever its mean
MOST_EFFECT = 10.0  # doublings; nothing at all is infinitely many
TOO_FEW = f"Fewer than {FEWEST} earlier windows tell what is usual."


@DETECTORS.register
class Volume(WindowDetector):
    """Counts of events that come apart from each other are Poisson's; those of traffic vary more.
    So both are asked, and the one that is less sure speaks."""

    key = "volume"
    label = "Volume"
    summary = (
        "Whether more or fewer rows came than in earlier windows of the same hour of the week, of "
        "the day, or of late, whichever has enough of them. Spread from window to window is learnt "
        "from these, and is never taken for less than Poisson's."
    )
    formula = "t = (√x − mean √y) / (s √(1 + 1/n)), s ≥ ½; p not below Poisson's of that mean"
    paper = "Anscombe, Biometrika 1948; Student 1908"
    watches = ("traffic",)
    takes = ("counts",)
    unit = "rows"
    effect_unit = "doublings or halvings"
    Options = AtLevel

    def score(self, reference: Sequence[float], live: float) -> Score:
        """Rows of earlier windows, and of this one."""
        earlier = np.asarray(reference, dtype=np.float64)
        if len(earlier) < FEWEST:
            return Score.no_data(TOO_FEW)
        roots = np.sqrt(earlier)
        usual, mean = float(roots.mean()), float(earlier.mean())
        spread = max(POISSON, float(roots.std(ddof=1))) * math.sqrt(1 + 1 / len(roots))
        p = max(_student((math.sqrt(live) - usual) / spread, len(roots) - 1), _poisson(live, mean))
        reach = spread * float(special.stdtrit(len(roots) - 1, 1 - self.options.level / 2))
        low, high = max(0.0, usual - reach) ** 2, (usual + reach) ** 2
        doublings = math.log2((live + 0.5) / (mean + 0.5))
        facts: dict[str, Any] = {
            "usual": mean,
            "low": low,
            "high": high,
            "windows": len(earlier),
            "rose": live > mean,
        }
        effect = min(MOST_EFFECT, abs(doublings))
        return Score(float(live), min(1.0, p), effect, high if live > mean else low, facts)


def _student(t: float, degrees: int) -> float:
    return 2 * float(special.stdtr(degrees, -abs(t)))


def _poisson(live: float, mean: float) -> float:
    """Two-sided; how often so many or more, or so few or fewer, come where `mean` do."""
    if mean == 0:
        return 1.0 if live == 0 else 0.0
    fewer, more = (
        float(special.pdtr(live, mean)),
        float(special.pdtrc(live - 1, mean)) if live else 1.0,
    )
    return min(1.0, 2 * min(fewer, more))
