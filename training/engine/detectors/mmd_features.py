"""Maximum mean discrepancy by random Fourier features, of sketches."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.engine.detectors import cells, chance
from training.engine.detectors.chance import Curve
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.sketches import EmbeddingSketch


@DETECTORS.register
class MmdFeatures(WindowDetector):
    key = "mmd_features"
    label = "MMD by random features"
    summary = (
        "How far the means of two windows' random Fourier features lie apart: the discrepancy of a "
        "Gaussian kernel in linear time. What chance does follows from the spread of the features "
        "in the reference, so nothing is dealt out anew, and any p can be told."
    )
    formula = "‖mean φ(x) − mean φ(y)‖² − (1/n + 1/m) tr C"
    paper = (
        "Gretton et al., A Kernel Two-Sample Test, JMLR 2012; Rahimi, Recht, NIPS 2007; three "
        "moments as Imhof, Biometrika 1961"
    )
    watches = ("embeddings",)
    unit = "squared discrepancy, unbiased"
    effect_unit = "discrepancy, 0 to 1.4"
    Options = chance.AtLevel

    def score(self, reference: Any, live: Any) -> Score:
        """Sketches that carry the spread of their reference: `bins.sketch` gives them."""
        if not isinstance(reference, EmbeddingSketch):
            raise ValueError("This detector compares sketches of embeddings.")
        if said := cells.lacking(reference, live):
            return Score.no_data(said)
        usual = reference.spread[0]
        scale = 1 / reference.rows + 1 / live.rows
        apart = float(np.square(reference.features - live.features).sum())
        curve = spread_curve(reference.spread, scale)
        value = apart - usual * scale
        limit = curve.limit(self.options.level) - usual * scale
        effect = max(0.0, value) ** 0.5
        return Score(value, curve.beyond(apart), effect, limit, {"biased": apart})


def spread_curve(spread: Sequence[float], scale: float) -> Curve:
    """What chance makes of the squared distance of two means whose covariance is `scale` · C: a
    weighted sum of chi-squares, whose cumulants are traces of powers of C."""
    one, two, three = spread
    return Curve(scale * one, 2 * scale**2 * two, 8 * scale**3 * three)
