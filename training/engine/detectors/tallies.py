"""How many rows held (were right, agreed), and whether there are fewer of them than before."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import special

from training.engine.shares import wilson

JSON = dict[str, Any]
TINY = 1e-9  # of squares: what rounding leaves of a difference


@dataclass(frozen=True, slots=True)
class Tally:
    """A window's rows that held, and all of them; tallies of parts `merge` to that of the whole.

    Rows may stand for several each: `weight` is the sum of what they stand for, `squares` that of
    its squares, and `weight_held` that of the rows that held. Unweighted rows stand for 1.

    Rows may have units of which each holds or not (words of a text, `of_units`). These are not
    independent: `spread` keeps how much rows differ, sums over rows of w²x², w²xn and w²n, where x
    of a row's n units hold and it stands for w others.
    """

    rows: int = 0
    held: int = 0
    weight: float = 0.0
    squares: float = 0.0
    weight_held: float = 0.0
    spread: tuple[float, ...] = ()

    @classmethod
    def of(cls, held: Any, weights: Any = None) -> "Tally":
        """held: `[rows]` of 1 and 0, NaN where it is unknown; weights: `[rows]`. A row without
        weight is passed over."""
        values = np.asarray(held, dtype=np.float64)
        stand = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
        known = np.isfinite(values) & np.isfinite(stand) & (stand > 0)
        values, stand = values[known], stand[known]
        return cls(
            rows=len(values),
            held=int((values > 0.5).sum()),
            weight=float(stand.sum()),
            squares=float(np.square(stand).sum()),
            weight_held=float(stand[values > 0.5].sum()),
        )

    @classmethod
    def of_units(cls, held: Any, units: Any, weights: Any = None) -> "Tally":
        """held of each row's units hold: both `[rows]`, NaN where it is unknown. A row without
        units or without weight is passed over; one holds where all its units do."""
        good, many = (np.asarray(one, dtype=np.float64) for one in (held, units))
        stand = np.ones(len(good)) if weights is None else np.asarray(weights, dtype=np.float64)
        known = np.isfinite(good) & np.isfinite(stand) & (stand > 0) & (many > 0)
        good, many, stand = good[known], many[known], stand[known]
        return cls(
            rows=len(good),
            held=int((good >= many).sum()),
            weight=float((stand * many).sum()),
            squares=float(np.square(stand * many).sum()),
            weight_held=float((stand * good).sum()),
            spread=(
                float(np.square(stand * good).sum()),
                float((np.square(stand) * good * many).sum()),
                float((np.square(stand) * many).sum()),
            ),
        )

    @classmethod
    def counted(cls, rows: int, held: int) -> "Tally":
        """Of rows that stand for one each."""
        return cls(rows, held, float(rows), float(rows), float(held))

    def merge(self, other: "Tally") -> "Tally":
        return Tally(
            self.rows + other.rows,
            self.held + other.held,
            self.weight + other.weight,
            self.squares + other.squares,
            self.weight_held + other.weight_held,
            added(self.spread, other.spread),
        )

    @property
    def share(self) -> float:
        """Of what the rows stand for, the part that held (Hájek 1971); 0 of no rows."""
        return self.weight_held / self.weight if self.rows else 0.0

    @property
    def effective(self) -> float:
        """As many rows of equal weight tell as much (Kish 1965). Of rows with units: as many
        independent units, by the variance of a ratio of sums over rows (Rao, Scott: A simple method
        for the analysis of clustered binary data, Biometrics 48, 1992), at most as many as there
        are; where all units hold or none, nobody knows how alike a row's are, and it is as many as
        rows whose units are all the same would tell."""
        if not self.rows:
            return 0.0
        by_rows = self.weight**2 / self.squares
        if not self.spread or self.rows < 2:
            return by_rows
        share = self.share
        held, crossed, most = self.spread
        apart = held - 2 * share * crossed + share**2 * self.squares
        apart *= self.rows / (self.rows - 1)
        if apart <= TINY * self.squares:
            return by_rows
        found = share * (1 - share) * self.weight**2 / apart
        return max(1.0, min(self.weight**2 / most, found))

    @property
    def whole(self) -> tuple[int, int]:
        """Effective rows and those of them that held, as exact tests count."""
        rows = round(self.effective)
        return rows, min(rows, round(self.effective * self.share))

    @property
    def interval(self) -> list[float]:
        """Wilson's, at 95 %."""
        return wilson(self.share, self.effective)

    def as_dict(self) -> JSON:
        found = asdict(self)
        if not self.spread:
            del found["spread"]
        return found

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Tally":
        return cls(**{**said, "spread": tuple(said.get("spread") or ())})


def added(one: tuple[float, ...], two: tuple[float, ...]) -> tuple[float, ...]:
    """Place by place; nothing is as zeros."""
    if not one or not two:
        return one or two
    return tuple(left + right for left, right in zip(one, two, strict=True))


def fewer(reference: Tally | float, live: Tally) -> float:
    """p that as few rows of `live` hold by chance, one-sided.

    Against another tally, Fisher's exact test (1922), which knows that the reference was counted
    on some rows, too; against a share that was promised, the exact binomial test, to which the
    first one comes close as the reference grows. Raises ValueError for a promise that is no share.
    """
    rows, held = live.whole
    if not isinstance(reference, Tally) and not 0 <= reference <= 1:
        raise ValueError(f"A promised share is from 0 to 1, not {reference}.")
    if isinstance(reference, Tally):
        from scipy import stats  # noqa: PLC0415 - half a second, and not always needed

        others, others_held = reference.whole
        return float(stats.hypergeom.cdf(held, rows + others, held + others_held, rows))
    return float(special.bdtr(held, rows, reference)) if rows else 1.0


def fewest(reference: Tally | float, live: Tally, level: float) -> float:
    """The share of `live` that chance alone undercuts about as rarely as `level`."""
    rows, held = live.whole
    if isinstance(reference, Tally):
        from scipy import stats  # noqa: PLC0415 - as above

        others, others_held = reference.whole
        lowest = stats.hypergeom.ppf(level, rows + others, held + others_held, rows)
    else:
        lowest = _binomial_quantile(level, rows, reference)
    return float(lowest) / rows


def _binomial_quantile(level: float, rows: int, share: float) -> int:
    low, high = 0, rows
    while low < high:
        middle = (low + high) // 2
        if special.bdtr(middle, rows, share) >= level:
            high = middle
        else:
            low = middle + 1
    return low


def drop(reference: Tally | float, live: Tally) -> float:
    """How far the share fell, less what chance adds to a fall on average; never below 0."""
    before = reference.share if isinstance(reference, Tally) else reference
    parts = 1 / live.effective
    if isinstance(reference, Tally):
        parts += 1 / reference.effective
    middle = (before + live.share) / 2
    deviation = math.sqrt(max(0.0, middle * (1 - middle)) * parts)
    return max(0.0, before - live.share - deviation / math.sqrt(2 * math.pi))


def rows_needed(
    before: float, after: float, *, level: float = 0.001, power: float = 0.9
) -> int | None:
    """Of how many rows a share that fell from `before` to `after` is seen, with the chance
    `power`, by a one-sided test at `level`. None where it did not fall. It is the normal law's
    number; the exact test, which errs to the safe side, sees such a drop a little more rarely."""
    if not 0 <= after < before <= 1:
        return None
    reach = float(special.ndtri(1 - level)) * math.sqrt(before * (1 - before))
    reach += float(special.ndtri(power)) * math.sqrt(after * (1 - after))
    return max(1, math.ceil((reach / (before - after)) ** 2))
