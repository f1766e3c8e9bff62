"""Population stability index."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.engine.detectors import cells, chance
from training.engine.detectors.chance import Counts, Floats
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.options import option

EMPTY = 0.5  # rows that an empty cell is taken to hold
EVIDENTLY = 1e-4  # the share that it is taken to hold elsewhere


@dataclass(frozen=True, slots=True)
class Options(chance.AtLevel):
    bins: int = option(
        10, minimum=2, maximum=100, help="Cells of numbers, alike in rows of the reference."
    )
    empty: str = option(
        "half a row",
        choices=["half a row", "as Evidently"],
        help="What an empty cell is taken to hold: half a row, or a share of 0.0001, and a "
        "millionth of the smallest share where that is smaller.",
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
        as_evidently = self.options.empty == "as Evidently"
        p, q = cells.counted(reference, live, self.options.bins, keep_empty=as_evidently)

        def distance(one: Counts, two: Counts) -> Floats:
            return index(one, two, as_evidently=as_evidently)

        level, value, degrees = self.options.level, float(distance(p, q)), len(p) - 1
        one, two, rest = chance.dense(p, q)
        usual, limit = chance.by_chance(p, q, distance, 1.0, level, as_evidently)
        found = chance.p_between(one, two, distance, 1.0)
        facts = {"cells": len(p), "degrees": degrees}
        return Score(value, chance.joined(found, rest), max(0.0, value - usual), limit, facts)


def index(reference: Counts, live: Counts, *, as_evidently: bool = False) -> Floats:
    """`[...]` of two `[..., cells]`."""
    p, q = (_shares(one, as_evidently) for one in (reference, live))
    found: Floats = np.asarray(((q - p) * np.log(q / p)).sum(axis=-1))
    return found


def _shares(counts: Counts, as_evidently: bool) -> Floats:
    rows = counts.sum(axis=-1, keepdims=True)
    least = EMPTY / rows
    if as_evidently:
        smallest = np.where(counts > 0, counts, rows).min(axis=-1, keepdims=True) / rows
        least = np.where(smallest <= EVIDENTLY, smallest / 1e6, EVIDENTLY)
    found: Floats = np.where(counts > 0, counts / rows, least)
    return found
