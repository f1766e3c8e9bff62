"""Can the student's confidence still be believed?"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.detectors import tallies
from training.engine.detectors.chance import AtLevel, chi_square_limit, chi_square_tail
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.registry import CLASSIFICATION
from training.engine.reliability import BINS

FEWEST = 5  # rows of a bin on either side, of which its accuracy is compared
NO_LABEL = "No row of this window has a label yet."
NO_REFERENCE = "No row of the reference has both a label and an answer of the model."
TOO_FEW = f"No bin of confidence has {FEWEST} labelled rows of both sides."

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Believed:
    """Of each bin of confidence (a fifteenth): rows, the sum of their confidence, and how many are
    right. Two `merge` to that of all their rows. What is counted may be units of rows, as words of
    texts are: `spread` keeps how much rows differ, three sums for each bin, one after the other:
    over rows of x², xn and n², where x of a row's n units in the bin are right."""

    rows: tuple[int, ...] = (0,) * BINS
    sure: tuple[float, ...] = (0.0,) * BINS
    right: tuple[int, ...] = (0,) * BINS
    spread: tuple[float, ...] = ()

    @classmethod
    def of(cls, confidence: Any, right: Any, row: Any = None) -> "Believed":
        """confidence `[rows]`, that of the given answer; right `[rows]` of 1 and 0, NaN unknown.
        Both of units, where `row` `[units]` says of which row each is."""
        sure, held = (np.asarray(one, dtype=np.float64) for one in (confidence, right))
        known = np.isfinite(sure) & np.isfinite(held)
        sure, good = sure[known], held[known] > 0.5
        edges = np.linspace(0.0, 1.0, BINS + 1)  # as reliability.py draws them
        where = np.clip(np.digitize(sure, edges[1:-1], right=True), 0, BINS - 1)
        spread: tuple[float, ...] = ()
        if row is not None and len(where):
            cells, many = np.unique(np.asarray(row)[known] * BINS + where, return_inverse=True)
            units = np.bincount(many).astype(np.float64)
            those = np.bincount(many, good)
            spread = tuple(
                float(one)
                for products in (those * those, those * units, units * units)
                for one in np.bincount(cells % BINS, products, minlength=BINS)
            )
        return cls(
            tuple(np.bincount(where, minlength=BINS).tolist()),
            tuple(np.bincount(where, sure, minlength=BINS).tolist()),
            tuple(np.bincount(where[good], minlength=BINS).tolist()),
            spread,
        )

    def merge(self, other: "Believed") -> "Believed":
        def added(one: tuple[Any, ...], two: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(a + b for a, b in zip(one, two, strict=True))

        return Believed(
            added(self.rows, other.rows),
            added(self.sure, other.sure),
            added(self.right, other.right),
            tallies.added(self.spread, other.spread),
        )

    @property
    def error(self) -> float | None:
        """Expected calibration error (Guo et al. 1706.04599, equation 3); None of no rows."""
        apart = sum(abs(sure - right) for sure, right in zip(self.sure, self.right, strict=True))
        return apart / sum(self.rows) if any(self.rows) else None

    @property
    def effective(self) -> Floats:
        """`[bins]`: as many independent rows tell as much, as `Tally.effective`."""
        rows, right = np.array(self.rows, dtype=np.float64), np.array(self.right)
        if not self.spread:
            return rows
        held, crossed, squares = np.array(self.spread).reshape(3, BINS)
        share = np.divide(right, rows, out=np.zeros(BINS), where=rows > 0)
        apart = held - 2 * share * crossed + share**2 * squares
        varies = apart > tallies.TINY * squares
        above = np.where(varies, share * (1 - share), 1.0) * rows**2
        below = np.where(varies, apart, squares)
        found = np.divide(above, below, out=np.zeros(BINS), where=rows > 0)
        return np.where(rows > 0, np.clip(found, 1.0, np.maximum(rows, 1.0)), 0.0)

    def as_dict(self) -> dict[str, Any]:
        found = {"rows": list(self.rows), "sure": list(self.sure), "right": list(self.right)}
        return found | ({"spread": list(self.spread)} if self.spread else {})

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Believed":
        spread = tuple(said.get("spread") or ())
        return cls(tuple(said["rows"]), tuple(said["sure"]), tuple(said["right"]), spread)


@DETECTORS.register
class Calibration(WindowDetector):
    """The error itself is never 0 by chance and grows as rows get fewer, so it is told and not
    tested. Tested is whether rows of the same confidence are right as often as they were."""

    key = "calibration"
    label = "Calibration"
    summary = (
        "The expected calibration error of the window, and whether answers of the same confidence "
        "are still right as often as on the reference. Unmoved by a shift of the classes alone "
        "where confidence can be believed; needs labels."
    )
    formula = "Σ (accₗ − accᵣ)² / (p (1 − p) (1/n + 1/m)) over bins of confidence, χ²"
    paper = "Guo et al.: On calibration of modern neural networks, 1706.04599"
    tasks = CLASSIFICATION
    watches = ("accuracy", "confidence")
    takes = ("calibrations",)
    unit = "expected calibration error"
    effect_unit = "how far right answers of equal confidence moved (root mean square, less chance)"
    Options = AtLevel
    needs_labels = True

    def score(self, reference: Believed, live: Believed) -> Score:
        """No `limit`: p is that of `chi_square` in the facts, not of the error."""
        if not any(reference.rows):
            return Score.no_data(NO_REFERENCE)
        if not any(live.rows):
            return Score.no_data(NO_LABEL)
        there, here = np.array(reference.rows), np.array(live.rows)
        met = (there >= FEWEST) & (here >= FEWEST)
        if not met.any():
            return Score.no_data(TOO_FEW)
        n, m = reference.effective[met], live.effective[met]
        right = np.array(reference.right)[met] / there[met]
        now = np.array(live.right)[met] / here[met]
        pooled = (right * n + now * m) / (n + m)
        variance = pooled * (1 - pooled) * (1 / n + 1 / m)
        squares = np.square(now - right)
        told = variance > 0
        degrees = int(told.sum())
        value = float((squares[told] / variance[told]).sum())
        moved = float((m * (squares - variance)).sum() / m.sum())
        facts = {
            "chi_square": value,
            "bins": degrees,
            "limit_chi_square": chi_square_limit(self.options.level, degrees),
            "reference": reference.error,
            "rows": int(here.sum()),
        }
        p = chi_square_tail(value, degrees)
        return Score(live.error, p, math.sqrt(max(0.0, moved)), None, facts)
