"""What chance alone does to a distance of two samples: known, or found by dealing anew."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from training.engine.options import option

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

DRAWS = 400
ENOUGH = 10  # draws beyond a value, from which their share is its p
MOST_DEALT = 900_000_000  # rows that NumPy deals out without putting back
SPARSE = 5.0  # rows expected in a cell, below which a chi-square is no help (Cochran 1954)


@dataclass(frozen=True, slots=True)
class AtLevel:
    level: float = option(
        0.001,
        minimum=1e-9,
        maximum=0.2,
        help="How rarely `limit` is passed without drift.",
    )


def sizes(reference: Counts, live: Counts) -> float:
    """1/n + 1/m: how much the shares of two samples differ by chance."""
    return 1.0 / int(reference.sum()) + 1.0 / int(live.sum())


def is_sparse(reference: Counts, live: Counts) -> bool:
    """Whether a cell is expected to hold too few rows of one side."""
    total = reference + live
    n, m = int(reference.sum()), int(live.sum())
    return bool(total[total > 0].min() * min(n, m) < SPARSE * (n + m))


def dealt(
    reference: Counts,
    live: Counts,
    distance: Callable[[Counts, Counts], Floats],
    draws: int = DRAWS,
) -> Floats:
    """The distance, `[draws]`, when all rows are dealt out anew to two samples of the same sizes:
    a permutation test, of counts. `distance` takes two `[draws, cells]`. The same every time."""
    total = reference + live
    rows = int(live.sum())
    chance = np.random.default_rng(0)
    if int(total.sum()) < MOST_DEALT:
        drawn = chance.multivariate_hypergeometric(total, rows, size=draws, method="marginals")
        return distance(total[None] - drawn, drawn)
    shares = total / total.sum()
    others = chance.multinomial(int(reference.sum()), shares, size=draws)
    return distance(others, chance.multinomial(rows, shares, size=draws))


@dataclass(frozen=True, slots=True)
class Curve:
    """A distribution by its mean, variance and third central moment: Pearson's type III, a gamma
    that is moved and scaled; a normal one where it leans to the left."""

    mean: float
    variance: float
    third: float

    @classmethod
    def of(cls, values: Floats) -> "Curve":
        apart = values - values.mean()
        return cls(float(values.mean()), float(np.square(apart).mean()), float((apart**3).mean()))

    def beyond(self, value: float) -> float:
        """How likely a value as large is."""
        if self.variance <= 0:
            return 1.0 if value <= self.mean + 1e-12 * max(1.0, abs(self.mean)) else 0.0
        apart = (value - self.mean) / self.variance**0.5
        shape = self._shape()
        if shape is None:
            return float(special.ndtr(-apart))
        return float(special.gammaincc(shape, max(0.0, shape + apart * shape**0.5)))

    def limit(self, level: float) -> float:
        """The value that is passed as rarely as `level`."""
        shape = self._shape()
        if self.variance <= 0 or shape is None:
            apart = float(special.ndtri(1 - level)) if self.variance > 0 else 0.0
        else:
            apart = (float(special.gammainccinv(shape, level)) - shape) / shape**0.5
        return float(self.mean + apart * max(0.0, self.variance) ** 0.5)

    def _shape(self) -> float | None:
        if self.variance <= 0 or self.third <= 0:
            return None
        lean = self.third / self.variance**1.5
        return 4 / lean**2 if lean > 1e-3 else None


def p_of(value: float, drawn: Floats) -> float:
    """How likely a value as large is: the share of draws beyond it; where they are few, what
    Pearson's curve through the draws says (Mielke, Berry, Permutation Methods, 2007, chapter 2),
    so that a p below 1 / draws can be told."""
    beyond = int((drawn >= value - 1e-12 * max(1.0, abs(value))).sum())
    share = (1 + beyond) / (1 + len(drawn))
    if beyond >= ENOUGH:
        return share
    return min(Curve.of(drawn).beyond(value), (1 + ENOUGH) / (1 + len(drawn)))


def chi_square_tail(value: float, degrees: int) -> float:
    return float(special.chdtrc(degrees, max(0.0, value))) if degrees > 0 else 1.0


def chi_square_limit(level: float, degrees: int) -> float:
    return float(special.chdtri(degrees, level)) if degrees > 0 else 0.0
