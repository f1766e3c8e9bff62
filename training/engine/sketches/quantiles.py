"""Quantiles of a window in a few hundred whole numbers, of which windows are added exactly.

UDDSketch (Epicoco et al., UDDSketch: Accurate Tracking of Quantiles in Data Streams, IEEE Access
2020; after Masson et al., DDSketch, 1908.10693): a value falls into the bucket of its distance from
`centre`, each bucket as many times as wide as the one before. Where there are too many, pairs are
joined. How often that happened depends on which buckets are taken, and on no order:
parts that are merged are bit for bit the sketch of the whole.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.sketches.packing import JSON, pack, unpack

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

FINEST = 0.005  # of a value's distance from the centre: how far off it may be at first
MOST_BUCKETS = 512
NEAR = 1e-3  # of the scale: what is nearer is the centre


@dataclass(frozen=True, slots=True)
class Quantiles:
    """`above` and `below` are `[buckets, 2]`: index and count, indices rising; of distances from
    the centre in units of `scale`. `level` is how often buckets were joined."""

    centre: float
    scale: float
    level: int
    middle: int
    above: Counts
    below: Counts

    @classmethod
    def of(cls, values: Floats, centre: float, scale: float) -> "Quantiles":
        """values: `[rows]`, all finite."""
        distance = (values - centre) / scale
        size = np.abs(distance)
        far = size >= NEAR
        sides = [_counted(size[far & side]) for side in (distance > 0, distance < 0)]
        return cls(centre, scale, 0, len(values) - int(far.sum()), *sides)._small()

    @property
    def accuracy(self) -> float:
        """How far a value may be off, as a share of its distance from the centre (or of `scale`
        times NEAR, where it is nearer)."""
        base = _base(self.level)
        return (base - 1) / (base + 1)

    @property
    def rows(self) -> int:
        return self.middle + int(self.above[:, 1].sum() + self.below[:, 1].sum())

    def merge(self, other: "Quantiles") -> "Quantiles":
        """Of both together. Raises ValueError where centre or scale differ."""
        if (self.centre, self.scale) != (other.centre, other.scale):
            raise ValueError("These quantiles are told from another centre.")
        level = max(self.level, other.level)
        one, two = self.at(level), other.at(level)
        sides = [
            _added(np.concatenate([mine, theirs]))
            for mine, theirs in ((one.above, two.above), (one.below, two.below))
        ]
        merged = Quantiles(self.centre, self.scale, level, one.middle + two.middle, *sides)
        return merged._small()

    def at(self, level: int) -> "Quantiles":
        """The same with buckets as wide as those of a `level` that is not lower."""
        above, below = self.above, self.below
        for _ in range(level - self.level):
            above, below = _joined(above), _joined(below)
        return Quantiles(self.centre, self.scale, level, self.middle, above, below)

    def points(self) -> tuple[Floats, Counts]:
        """Values that stand for the buckets, rising, and how many rows each stands for."""
        up, down = (self._distance(side[:, 0]) for side in (self.above, self.below))
        values = np.concatenate([-down[::-1], [0.0], up]) * self.scale + self.centre
        counts = np.concatenate([self.below[::-1, 1], [self.middle], self.above[:, 1]])
        return values, counts

    def quantiles(self, shares: Sequence[float]) -> list[float]:
        """The values below which these shares of the rows lie; nothing where there is no row."""
        values, counts = self.points()
        if not counts.sum():
            return []
        ranks = np.asarray(shares) * (counts.sum() - 1)
        return [float(one) for one in values[np.searchsorted(np.cumsum(counts), ranks, "right")]]

    def _distance(self, index: Counts) -> Floats:
        base = _base(self.level)
        found: Floats = 2 * np.power(base, index.astype(np.float64)) / (base + 1)
        return found

    def _small(self) -> "Quantiles":
        found = self
        while len(found.above) + len(found.below) > MOST_BUCKETS:
            found = found.at(found.level + 1)
        return found

    def as_dict(self) -> JSON:
        return {
            "centre": self.centre,
            "scale": self.scale,
            "level": self.level,
            "middle": self.middle,
            "above": pack(self.above),
            "below": pack(self.below),
        }

    @classmethod
    def from_dict(cls, said: JSON) -> "Quantiles":
        sides = [unpack(said[name], "int64").reshape(-1, 2) for name in ("above", "below")]
        return cls(said["centre"], said["scale"], said["level"], said["middle"], *sides)


def _base(level: int) -> float:
    return math.pow((1 + FINEST) / (1 - FINEST), 2**level)


def _counted(sizes: Floats) -> Counts:
    """How many distances are in each bucket of level 0."""
    if not len(sizes):
        return np.empty((0, 2), dtype=np.int64)
    index = np.ceil(np.log(sizes) * (1 / math.log(_base(0)))).astype(np.int64)
    lowest = int(index.min())
    counts = np.bincount(index - lowest)
    met = np.flatnonzero(counts)
    return np.stack([met + lowest, counts[met]], axis=1).astype(np.int64)


def _added(pairs: Counts) -> Counts:
    """Counts of equal indices added, indices rising."""
    found, where = np.unique(pairs[:, 0], return_inverse=True)
    counts = np.zeros(len(found), dtype=np.int64)
    np.add.at(counts, where, pairs[:, 1])
    return np.stack([found, counts], axis=1)


def _joined(pairs: Counts) -> Counts:
    halved: Any = -(-pairs[:, 0] // 2)
    return _added(np.stack([halved, pairs[:, 1]], axis=1))
