"""Wasserstein distance in standard deviations of the reference."""

from typing import Any

import numpy as np

from training.engine.detectors import cells, chance
from training.engine.detectors.chance import Counts, Floats
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.sketches.numbers import usable

CELLS = 100  # into which points are put to tell what chance does


@DETECTORS.register
class Wasserstein(WindowDetector):
    key = "wasserstein"
    label = "Wasserstein distance, normalised"
    summary = (
        "How far rows would have to be moved on average, in standard deviations of the reference. "
        "Of sketches it is right to `within`; of rows it is exact. A single row far away moves the "
        "distance, and not its p."
    )
    formula = "∫ |F(x) − G(x)| dx / σ; chance by dealing the rows out anew"
    paper = "Ramdas et al., On Wasserstein Two Sample Testing, 2017, 1509.02237"
    watches = ("numbers", "confidence")
    takes = ("sketches", "rows")
    unit = "standard deviations of the reference"
    effect_unit = "standard deviations above what chance adds"
    Options = chance.AtLevel

    def score(self, reference: Any, live: Any) -> Score:
        """Two sketches of numbers, or two arrays `[rows]`."""
        if hasattr(reference, "bins") or hasattr(live, "bins"):
            return self._of_sketches(reference, live)
        one, two = usable(reference)[0], usable(live)[0]
        if not len(one) or not len(two):
            return Score.no_data(cells.NO_LIVE if len(one) else cells.NO_REFERENCE)
        points, p, q = _placed(one, two)
        scale = float(one.std()) or 1.0
        value = float(distance(points, p, q)) / scale
        return self._score(value, points, p, q, scale, 0.0)

    def _of_sketches(self, reference: Any, live: Any) -> Score:
        if said := cells.lacking(reference, live):
            return Score.no_data(said)
        level = max(reference.quantiles.level, live.quantiles.level)
        sides = [one.quantiles.at(level).points() for one in (reference, live)]
        points = np.unique(np.concatenate([values for values, _ in sides]))
        counts = []
        for values, rows in sides:
            counts.append(np.zeros(len(points), dtype=np.int64))
            np.add.at(counts[-1], np.searchsorted(points, values), rows)
        scale = reference.deviation or 1.0
        centre = reference.quantiles.centre
        moved = [
            float((np.abs(values - centre) * rows).sum() / rows.sum()) for values, rows in sides
        ]
        accuracy = reference.quantiles.at(level).accuracy
        within = (accuracy * sum(moved) / (1 - accuracy) + 2e-3 * reference.quantiles.scale) / scale
        value = float(distance(points, counts[0], counts[1])) / scale
        return self._score(value, points, counts[0], counts[1], scale, within)

    def _score(
        self, value: float, points: Floats, p: Counts, q: Counts, scale: float, within: float
    ) -> Score:
        met = (p + q) > 0
        points, p, q = _few(points[met], p[met], q[met])
        drawn = chance.dealt(p, q, lambda one, two: distance(points, one, two) / scale)
        usual = chance.Curve.of(drawn)
        points, p, q = _sturdy(points, p, q)
        moved = float(distance(points, p, q)) / scale
        again = chance.dealt(p, q, lambda one, two: distance(points, one, two) / scale)
        return Score(
            value,
            chance.p_of(moved, again) if len(points) > 1 else 1.0,
            max(0.0, value - usual.mean),
            usual.limit(self.options.level),
            {"within": within},
        )


def distance(points: Floats, reference: Counts, live: Counts) -> Floats:
    """`[...]` of two `[..., points]` of rows at `points` `[points]`, rising."""
    p, q = (np.cumsum(one, axis=-1) / one.sum(axis=-1, keepdims=True) for one in (reference, live))
    return np.asarray((np.abs(p - q)[..., :-1] * np.diff(points)).sum(axis=-1))


def _few(points: Floats, p: Counts, q: Counts) -> tuple[Floats, Counts, Counts]:
    """Neighbours as one point in their middle, so that dealing rows out costs little."""
    if len(points) <= CELLS:
        return points, p, q
    group = np.arange(len(points)) * CELLS // len(points)
    one, two = (np.bincount(group, side, CELLS).astype(np.int64) for side in (p, q))
    return np.bincount(group, points * (p + q), CELLS) / (one + two), one, two


def _sturdy(points: Floats, p: Counts, q: Counts) -> tuple[Floats, Counts, Counts]:
    """Neighbours joined until chance is known of each group, which stands where its middle row
    does: no single row far away says anything."""
    group, groups = chance.grouped(p, q)
    if not groups:
        return points[:1], p[:1], q[:1]
    group = np.where(group < 0, groups - 1, group)
    one, two = (np.bincount(group, side, groups).astype(np.int64) for side in (p, q))
    upto = np.cumsum(p + q)
    ends = np.cumsum(one + two)
    middles = ends - (one + two + 1) // 2
    return points[np.searchsorted(upto, middles, side="right")], one, two


def _placed(one: Floats, two: Floats) -> tuple[Floats, Counts, Counts]:
    """All values once, rising, and how many rows of each side have them."""
    points, where = np.unique(np.concatenate([one, two]), return_inverse=True)
    sides = [np.bincount(part, minlength=len(points)) for part in np.split(where, [len(one)])]
    return points, sides[0].astype(np.int64), sides[1].astype(np.int64)
