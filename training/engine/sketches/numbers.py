"""A column of numbers: bins that a reference sets, and a window counted in them."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.sketches.packing import JSON, fingerprint, pack, unpack
from training.engine.sketches.quantiles import Counts, Floats, Quantiles

CELLS = 100  # into which a reference is cut, alike in rows
LARGEST = 1e150  # what lies beyond is no number here, so that squares can be added


@dataclass(frozen=True)
class NumberBins:
    """`edges` `[cells - 1]`, rising: a value x is in cell i where edges[i - 1] < x <= edges[i]."""

    edges: Floats
    low: float
    high: float
    centre: float
    scale: float

    @classmethod
    def fit(cls, values: Any, cells: int = CELLS) -> "NumberBins":
        """Of a reference `[rows]`: edges are values of it, so that counts up to an edge are exactly
        its distribution there. Of a constant, one cell for it and one on either side."""
        found, _ = usable(values)
        if not len(found):
            return cls(np.empty(0), 0.0, 0.0, 0.0, 1.0)
        low, high = float(found.min()), float(found.max())
        centre = float(np.quantile(found, 0.5, method="inverted_cdf"))
        if low == high:
            edges = np.array([np.nextafter(low, -math.inf), low])
            return cls(edges, low, high, centre, abs(low) or 1.0)
        shares = np.arange(1, cells) / cells
        edges = np.unique(np.quantile(found, shares, method="inverted_cdf"))
        quarters = np.quantile(found, [0.25, 0.75])
        scale = float(quarters[1] - quarters[0]) or float(found.std()) or high - low
        return cls(edges[edges < high], low, high, centre, scale)

    @functools.cached_property
    def key(self) -> str:
        return fingerprint(self.as_dict())

    def sketch(self, values: Any) -> "NumberSketch":
        """Of `[rows]` numbers; None, NaN, infinite ones and what is beyond LARGEST are missing."""
        found, missing = usable(values)
        where = np.searchsorted(self.edges, found, side="left")
        mean = float(found.mean()) if len(found) else 0.0
        return NumberSketch(
            bins=self.key,
            counts=np.bincount(where, minlength=len(self.edges) + 1).astype(np.int64),
            missing=missing,
            under=int((found < self.low).sum()),
            over=int((found > self.high).sum()),
            mean=mean,
            squares=float(np.square(found - mean).sum()),
            low=float(found.min()) if len(found) else None,
            high=float(found.max()) if len(found) else None,
            quantiles=Quantiles.of(found, self.centre, self.scale),
        )

    def as_dict(self) -> JSON:
        return {
            "kind": "numbers",
            "edges": pack(self.edges),
            "low": self.low,
            "high": self.high,
            "centre": self.centre,
            "scale": self.scale,
        }

    @classmethod
    def from_dict(cls, said: JSON) -> "NumberBins":
        edges = unpack(said["edges"], "float64")
        return cls(edges, said["low"], said["high"], said["centre"], said["scale"])


@dataclass(frozen=True, slots=True)
class NumberSketch:
    """`counts` by cell, in int64; `under` and `over` rows lay outside of the reference's range (and
    are in the first and last cell as well); `squares` is the sum of squared distances from `mean`.
    """

    bins: str
    counts: Counts
    missing: int
    under: int
    over: int
    mean: float
    squares: float
    low: float | None
    high: float | None
    quantiles: Quantiles

    @property
    def rows(self) -> int:
        """Without missing ones."""
        return int(self.counts.sum())

    @property
    def deviation(self) -> float:
        """The standard deviation, as of a whole population; 0 without a row."""
        return math.sqrt(self.squares / self.rows) if self.rows else 0.0

    def merge(self, other: "NumberSketch") -> "NumberSketch":
        """Of both windows. Moments by Chan, Golub, LeVeque, Updating Formulae, 1979, section 2.
        Raises ValueError where the bins are others."""
        if self.bins != other.bins:
            raise ValueError("These sketches count in different bins: they have two references.")
        mine, theirs = self.rows, other.rows
        rows = mine + theirs
        apart = other.mean - self.mean
        share = theirs / rows if rows else 0.0
        return NumberSketch(
            bins=self.bins,
            counts=self.counts + other.counts,
            missing=self.missing + other.missing,
            under=self.under + other.under,
            over=self.over + other.over,
            mean=self.mean + apart * share,
            squares=self.squares + other.squares + apart * apart * mine * share,
            low=_of(min, self.low, other.low),
            high=_of(max, self.high, other.high),
            quantiles=self.quantiles.merge(other.quantiles),
        )

    def as_dict(self) -> JSON:
        return {
            "kind": "numbers",
            "bins": self.bins,
            "counts": pack(self.counts),
            "missing": self.missing,
            "under": self.under,
            "over": self.over,
            "mean": self.mean,
            "squares": self.squares,
            "low": self.low,
            "high": self.high,
            "quantiles": self.quantiles.as_dict(),
        }

    @classmethod
    def from_dict(cls, said: JSON) -> "NumberSketch":
        kept = {name: value for name, value in said.items() if name != "kind"}
        kept["counts"] = unpack(said["counts"], "int64")
        kept["quantiles"] = Quantiles.from_dict(said["quantiles"])
        return cls(**kept)


def usable(values: Any) -> tuple[Floats, int]:
    """The numbers among values, and how many there are that are none."""
    if isinstance(values, Sequence):
        values = [math.nan if value is None else value for value in values]
    every: NDArray[np.float64] = np.asarray(values, dtype=np.float64).ravel()
    fine = np.abs(every) <= LARGEST
    return every[fine], int(len(every) - fine.sum())


def _of(choose: Any, one: float | None, two: float | None) -> float | None:
    known = [value for value in (one, two) if value is not None]
    return choose(known) if known else None
