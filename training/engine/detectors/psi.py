"""Population stability index."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.engine.detectors import cells, chance
from training.engine.detectors.chance import Counts, Floats
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.options import option

LEAST_SHARE = 1e-4  # of an empty cell, as Evidently has it
EMPTY = 0.5  # rows of an empty cell, otherwise


@dataclass(frozen=True, slots=True)
class Options(chance.AtLevel):
    bins: int = option(
        10, minimum=2, maximum=100, help="Cells of numbers, alike in rows of the reference."
    )
    empty: str = option(
        "half a row",
        choices=["half a row", "share of 0.0001"],
        help="What an empty cell is taken to hold. The second is what Evidently takes.",
    )


@DETECTORS.register
class Psi(WindowDetector):
    key = "psi"
    label = "Population stability index"
    summary = (
        "How far shares have moved between cells. Its limit knows how many rows there are: the "
        "rule of thumb 0.1 fires in nearly half of all windows of 100 rows, and finds little in "
        "large ones."
    )
    formula = "Σ (q − p) ln(q / p); limit (1/n + 1/m) χ²(cells − 1)"
    paper = "Yurdakul, Statistical Properties of Population Stability Index, 2018"
    watches = ("numbers", "categories", "confidence")
    unit = "nats"
    effect_unit = "index above what chance adds"
    Options = Options

    def score(self, reference: Any, live: Any) -> Score:
        if said := cells.lacking(reference, live):
            return Score.no_data(said)
        p, q = cells.counted(reference, live, self.options.bins)
        least = LEAST_SHARE if self.options.empty == "share of 0.0001" else None

        def distance(one: Counts, two: Counts) -> Floats:
            return index(one, two, least)

        value = float(distance(p, q))
        degrees, scale = len(p) - 1, chance.sizes(p, q)
        facts = {"cells": len(p)}
        if chance.is_sparse(p, q):
            drawn = chance.dealt(p, q, distance)
            usual = chance.Curve.of(drawn)
            return Score(
                value,
                chance.p_of(value, drawn),
                max(0.0, value - usual.mean),
                usual.limit(self.options.level),
                facts,
            )
        return Score(
            value,
            chance.chi_square_tail(value / scale, degrees),
            max(0.0, value - degrees * scale),
            chance.chi_square_limit(self.options.level, degrees) * scale,
            facts,
        )


def index(reference: Counts, live: Counts, least_share: float | None = None) -> Floats:
    """`[...]` of two `[..., cells]`. An empty cell holds `least_share`, or half a row."""
    p, q = (_shares(one, least_share) for one in (reference, live))
    found: Floats = ((q - p) * np.log(q / p)).sum(axis=-1)
    return found


def _shares(counts: Counts, least_share: float | None) -> Floats:
    rows = counts.sum(axis=-1, keepdims=True)
    least = EMPTY / rows if least_share is None else least_share
    return np.where(counts > 0, counts / rows, least)
