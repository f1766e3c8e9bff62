"""Jensen-Shannon distance."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from training.engine.detectors import cells, chance
from training.engine.detectors.chance import Counts, Floats
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Options(chance.AtLevel):
    bins: int = option(
        10, minimum=2, maximum=100, help="Cells of numbers, alike in rows of the reference."
    )


@DETECTORS.register
class JensenShannon(WindowDetector):
    key = "jensen_shannon"
    label = "Jensen-Shannon distance"
    summary = (
        "How far two distributions lie from their mean, between 0 and 1; empty cells do no harm. "
        "Libraries with the natural logarithm give 0.83 times as much."
    )
    formula = "√(½ KL(p ‖ m) + ½ KL(q ‖ m)), m = (p + q) / 2, in bits"
    paper = "Endres, Schindelin: A New Metric for Probability Distributions, 2003"
    watches = ("numbers", "categories", "confidence")
    unit = "distance, 0 to 1"
    effect_unit = "distance above what chance adds"
    Options = Options

    def score(self, reference: Any, live: Any) -> Score:
        if said := cells.lacking(reference, live):
            return Score.no_data(said)
        p, q = cells.counted(reference, live, self.options.bins)
        # Near each other, the divergence is an eighth of a chi-square's (Endres, equation 9)
        factor, level = 1 / (8 * math.log(2)), self.options.level
        square = float(divergence(p, q))
        one, two, rest = chance.dense(p, q)
        usual, limit = chance.by_chance(p, q, divergence, factor, level)
        found = chance.joined(chance.p_between(one, two, divergence, factor), rest)
        effect = math.sqrt(max(0.0, square - usual))
        value, most = math.sqrt(max(0.0, square)), math.sqrt(max(0.0, limit))
        return Score(value, found, effect, most, {"cells": len(p)})


def divergence(reference: Counts, live: Counts) -> Floats:
    """`[...]` of two `[..., cells]`, in bits: the distance squared."""
    p, q = (one / one.sum(axis=-1, keepdims=True) for one in (reference, live))
    middle = (p + q) / 2
    found: Floats = (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum(axis=-1)
    return np.asarray(found / (2 * math.log(2)))
