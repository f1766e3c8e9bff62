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
SMALL = 20.0  # rows expected in a cell, below which logarithms of shares stray from it


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


def least_expected(reference: Counts, live: Counts) -> float:
    """Rows that the emptiest cell is expected to hold of the smaller side."""
    total = reference + live
    n, m = int(reference.sum()), int(live.sum())
    return float(total[total > 0].min() * min(n, m) / (n + m))


def grouped(reference: Counts, live: Counts) -> tuple[Counts, int]:
    """`[cells]`: to which group each belongs when neighbours are joined until all groups are
    expected to hold SPARSE rows of either side; and how many groups there are. Cells at the end
    that do not fill one are of group -1."""
    total = reference + live
    n, m = int(reference.sum()), int(live.sum())
    needed = SPARSE * (n + m) / min(n, m)
    group = np.full(len(total), -1, dtype=np.int64)
    begin = groups = 0
    held = 0
    for at, rows in enumerate(total.tolist()):
        held += rows
        if held >= needed:
            group[begin : at + 1] = groups
            begin, groups, held = at + 1, groups + 1, 0
    return group, groups


def dense(reference: Counts, live: Counts) -> tuple[Counts, Counts, float | None]:
    """Both sides in groups of cells of which chance is known, and the p of the rows that are left
    over, by the binomial: one row of a level that was never met is no wonder, ten are."""
    group, groups = grouped(reference, live)
    rest = group < 0
    one, two = (
        np.bincount(group[~rest], side[~rest], groups).astype(np.int64)
        for side in (reference, live)
    )
    left = int((reference + live)[rest].sum())
    if not left:
        return one, two, None
    share = int(live.sum()) / int(reference.sum() + live.sum())
    met = int(live[rest].sum())
    above = float(special.bdtrc(met - 1, left, share)) if met else 1.0
    return one, two, min(1.0, 2 * min(above, float(special.bdtr(met, left, share))))


def joined(one: float, other: float | None) -> float:
    """Of two tests of one window: Bonferroni."""
    return one if other is None else min(1.0, 2 * min(one, other))


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


def p_between(
    reference: Counts, live: Counts, distance: Callable[[Counts, Counts], Floats], factor: float
) -> float:
    """The p of a distance that is `factor` · (1/n + 1/m) · chi-square where cells are full."""
    if len(reference) < 2:
        return 1.0
    value = float(distance(reference, live))
    if least_expected(reference, live) < SMALL:
        return p_of(value, dealt(reference, live, distance))
    scale = factor * sizes(reference, live)
    return chi_square_tail(value / scale, len(reference) - 1)


def by_chance(
    reference: Counts,
    live: Counts,
    distance: Callable[[Counts, Counts], Floats],
    factor: float,
    level: float,
    always_dealt: bool = False,
) -> tuple[float, float]:
    """What such a distance is by chance: its mean, and what it passes as rarely as `level`."""
    if always_dealt or least_expected(reference, live) < SMALL:
        usual = Curve.of(dealt(reference, live, distance))
        return usual.mean, usual.limit(level)
    scale, degrees = factor * sizes(reference, live), len(reference) - 1
    return degrees * scale, chi_square_limit(level, degrees) * scale
