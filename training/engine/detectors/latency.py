"""How long the slowest answers took, against earlier windows."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from training.engine.detectors.chance import AtLevel
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector

FEWEST = 6  # earlier windows, below which nothing is usual
LEAST = 0.1  # doublings by which the percentile of a window is taken to vary, at least
TOO_FEW = f"Fewer than {FEWEST} earlier windows tell how long answers usually take."
NO_LIVE = "No row of this window says how long its answer took."


@DETECTORS.register
class Latency(WindowDetector):
    """Rows of one window wait for the same machine, so windows are compared and not rows."""

    key = "latency"
    label = "Latency"
    summary = (
        "Whether the 95th percentile of the milliseconds that answers took is above that of "
        "earlier windows, by Student's t of its logarithm. Faster answers are no alarm."
    )
    formula = "t = (log₂ x − mean log₂ y) / (s √(1 + 1/n)), s ≥ 0.1"
    paper = "Student, The probable error of a mean, Biometrika 1908"
    watches = ("traffic",)
    takes = ("percentiles",)
    unit = "milliseconds, 95th percentile"
    effect_unit = "doublings, above what chance adds"
    Options = AtLevel

    def score(self, reference: Sequence[float], live: float | None) -> Score:
        """The percentile of earlier windows, and of this one."""
        if live is None:
            return Score.no_data(NO_LIVE)
        if len(reference) < FEWEST:
            return Score.no_data(TOO_FEW)
        logs = np.log2(np.maximum(np.asarray(reference, dtype=np.float64), 1e-3))
        usual, degrees = float(logs.mean()), len(logs) - 1
        spread = max(LEAST, float(logs.std(ddof=1))) * math.sqrt(1 + 1 / len(logs))
        rose = math.log2(max(live, 1e-3)) - usual
        p = float(special.stdtr(degrees, -rose / spread))
        limit = 2 ** (usual + spread * float(special.stdtrit(degrees, 1 - self.options.level)))
        facts: dict[str, Any] = {"usual": 2**usual, "windows": len(logs)}
        effect = max(0.0, rose - spread / math.sqrt(2 * math.pi))
        return Score(float(live), p, effect, limit, facts)
