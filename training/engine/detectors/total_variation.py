"""Total variation."""

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
class TotalVariation(WindowDetector):
    key = "total_variation"
    label = "Total variation"
    summary = "The share of rows that would have to change their cell; the easiest one to read."
    formula = "½ Σ |p − q|; chance by dealing the rows out anew"
    paper = "Gibbs, Su: On Choosing and Bounding Probability Metrics, 2002, math/0209021"
    watches = ("numbers", "categories", "confidence")
    unit = "share of rows"
    effect_unit = "share above what chance adds"
    Options = Options

    def score(self, reference: Any, live: Any) -> Score:
        if said := cells.lacking(reference, live):
            return Score.no_data(said)
        p, q = cells.counted(reference, live, self.options.bins)
        value = float(variation(p, q))
        drawn = chance.dealt(p, q, variation)
        usual = chance.Curve.of(drawn)
        one, two, rest = chance.dense(p, q)
        moved, others = value, drawn
        if len(one) < len(p):
            moved = float(variation(one, two)) if len(one) else 0.0
            others = chance.dealt(one, two, variation) if len(one) else np.zeros(1)
        return Score(
            value,
            chance.joined(chance.p_of(moved, others), rest),
            max(0.0, value - usual.mean),
            usual.limit(self.options.level),
            {"cells": len(p)},
        )


def variation(reference: Counts, live: Counts) -> Floats:
    """`[...]` of two `[..., cells]`."""
    p, q = (one / one.sum(axis=-1, keepdims=True) for one in (reference, live))
    return np.asarray(np.abs(p - q).sum(axis=-1) / 2)
