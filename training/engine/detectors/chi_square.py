"""Pearson's chi-square of two windows."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

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
class ChiSquare(WindowDetector):
    key = "chi_square"
    label = "Chi-square with Cramér's V"
    summary = (
        "Whether two windows have the same shares. Cells that hold few rows are joined with their "
        "neighbours for its p, so that one row of a new level is no alarm. The effect is Cramér's "
        "V as if both windows were alike in size: a large reference makes no drift look small."
    )
    formula = "Σ (n − e)² / e; V² = ½ Σ (p − q)² / (p + q)"
    paper = "Pearson 1900; Cramér 1946; bias as in Bergsma, J. Korean Stat. Soc. 2013"
    watches = ("categories", "numbers")
    unit = "chi-square"
    effect_unit = "Cramér's V, 0 to 1, above what chance adds"
    Options = Options

    def score(self, reference: Any, live: Any) -> Score:
        if said := cells.lacking(reference, live):
            return Score.no_data(said)
        p, q = cells.counted(reference, live, self.options.bins)
        value, degrees = float(statistic(p, q)), len(p) - 1
        limit = chance.chi_square_limit(self.options.level, degrees)
        if chance.least_expected(p, q) < chance.SPARSE:
            limit = chance.Curve.of(chance.dealt(p, q, statistic)).limit(self.options.level)
        one, two, rest = chance.dense(p, q)
        moved = float(statistic(one, two)) if len(one) else 0.0
        found = chance.joined(chance.chi_square_tail(moved, len(one) - 1), rest)
        shares = p / p.sum(), q / q.sum()
        square = float((np.square(shares[0] - shares[1]) / (shares[0] + shares[1])).sum()) / 2
        effect = math.sqrt(max(0.0, square - degrees * chance.sizes(p, q) / 4))
        rows = int(p.sum() + q.sum())
        facts = {"cells": len(p), "degrees": degrees, "cramers_v": math.sqrt(value / rows)}
        return Score(value, found, effect, limit, facts)


def statistic(reference: Counts, live: Counts) -> Floats:
    """`[...]` of two `[..., cells]`, none of which is empty in both."""
    total = reference + live
    value: Floats = np.zeros(total.shape[:-1])
    for one in (reference, live):
        expected = total * (one.sum(axis=-1, keepdims=True) / total.sum(axis=-1, keepdims=True))
        value = value + (np.square(one - expected) / expected).sum(axis=-1)
    return value
