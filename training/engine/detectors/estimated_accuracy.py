"""Accuracy before there are labels, from the student's own confidence (CBPE).

Right where the mix of rows changes and answers of the same confidence stay right as often: under
label shift measured .836 for .836. **Far too optimistic where the world is new**: on rows of
classes that the student never learned, measured .68 for a real .49. It cannot know that, and no
test on it can: never show it without saying so, and believe the sampled teacher first.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from training.engine.detectors.chance import AtLevel
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.registry import CLASSIFICATION

CAVEAT = (
    "Estimated from the student's confidence: right where only the mix of rows changed, far too "
    "high where rows are of a kind that it never learned."
)
NO_LIVE = "No row of this window has probabilities."
NO_REFERENCE = "Nothing was estimated on the reference."

Floats = NDArray[np.float64]
OF_UNITS = ("units", "sizes", "crossed")


@dataclass(frozen=True, slots=True)
class Confidences:
    """For each class a rising curve from the student's probability to how often the class is true,
    fitted to labelled rows of the reference: `knots`, one `(probabilities, shares)` a class,
    between which it is linear."""

    knots: tuple[tuple[Floats, Floats], ...]

    @classmethod
    def fit(cls, probabilities: Any, labels: Any) -> "Confidences":
        """probabilities `[rows, classes]`; labels `[rows]` of class numbers, below 0 unknown.
        Isotonic regression of each class (Zadrozny, Elkan 2002). Raises ValueError where no row
        has a label and probabilities."""
        from scipy import optimize  # noqa: PLC0415 - not where a window is only estimated

        told, classes = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
        known = np.isfinite(told).all(axis=1) & (classes >= 0)
        if not known.any():
            raise ValueError("No row of the reference has a label and probabilities.")
        told, classes = told[known], classes[known]
        knots = []
        for place in range(told.shape[1]):
            at, where = np.unique(told[:, place], return_inverse=True)
            rows = np.bincount(where)
            share = np.bincount(where, classes == place) / rows
            risen = optimize.isotonic_regression(share, weights=rows).x
            turns = np.ones(len(at), dtype=bool)  # what lies inside a flat piece tells nothing
            turns[1:-1] = (risen[1:-1] != risen[:-2]) | (risen[1:-1] != risen[2:])
            knots.append((at[turns], risen[turns]))
        return cls(tuple(knots))

    def right(self, probabilities: Any, predicted: Any = None) -> Floats:
        """How likely each row's answer is right, `[rows]`: `predicted` `[rows]` of class numbers,
        the most probable where not given. Rows without probabilities are NaN."""
        told = np.asarray(probabilities, dtype=np.float64).reshape(-1, len(self.knots))
        if predicted is None:
            chosen = np.where(np.isnan(told), -1.0, told).argmax(axis=1)
        else:
            chosen = np.asarray(predicted)
        found = np.column_stack(
            [np.interp(told[:, place], at, to) for place, (at, to) in enumerate(self.knots)]
        )
        total = found.sum(axis=1)
        even = np.full(len(found), 1 / len(self.knots))
        taken = found[np.arange(len(found)), chosen]
        right: Floats = np.divide(taken, total, out=even, where=total != 0)
        return right

    def as_dict(self) -> dict[str, Any]:
        return {"knots": [[at.tolist(), to.tolist()] for at, to in self.knots]}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Confidences":
        return cls(tuple((np.array(at), np.array(to)) for at, to in said["knots"]))


@dataclass(frozen=True, slots=True)
class Estimate:
    """Of a window: rows, the sum of how likely each is right, and of its squares. Two `merge` to
    that of all their rows. Of rows with several units (words of a text), `total` and `squares` are
    of sums over a row's units; `units` are all of them, `sizes` the sum of their squares by row,
    and `crossed` that of both products."""

    rows: int = 0
    total: float = 0.0
    squares: float = 0.0
    units: float = 0.0
    sizes: float = 0.0
    crossed: float = 0.0

    @classmethod
    def of(cls, right: Any) -> "Estimate":
        """right: `[rows]`, from `Confidences.right`."""
        values = np.asarray(right, dtype=np.float64)
        values = values[np.isfinite(values)]
        return cls(len(values), float(values.sum()), float(np.square(values).sum()))

    @classmethod
    def of_units(cls, right: Any, row: Any) -> "Estimate":
        """right: `[units]`, NaN unknown; row: `[units]`, of which row each is."""
        values = np.asarray(right, dtype=np.float64)
        known = np.isfinite(values)
        _, places = np.unique(np.asarray(row)[known], return_inverse=True)
        if not len(places):
            return cls()
        units, told = np.bincount(places), np.bincount(places, values[known])
        return cls(
            len(units),
            float(told.sum()),
            float(np.square(told).sum()),
            float(units.sum()),
            float(np.square(units).sum()),
            float((units * told).sum()),
        )

    def merge(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.rows + other.rows,
            self.total + other.total,
            self.squares + other.squares,
            self.units + other.units,
            self.sizes + other.sizes,
            self.crossed + other.crossed,
        )

    @property
    def accuracy(self) -> float:
        """Estimated; 0 of no rows."""
        return self.total / (self.units or self.rows) if self.rows else 0.0

    @property
    def variance(self) -> float:
        """Of its rows, around their mean; of units `rows` times that of the ratio of sums over
        rows, which are independent where a row's units are not (Cochran, Sampling Techniques, 3rd
        edition 1977, equation 6.12)."""
        if not self.rows:
            return 0.0
        if self.units:
            share = self.accuracy
            apart = self.squares - 2 * share * self.crossed + share**2 * self.sizes
            return max(0.0, apart) * self.rows**2 / max(1, self.rows - 1) / self.units**2
        return max(0.0, self.squares / self.rows - self.accuracy**2)

    def as_dict(self) -> dict[str, Any]:
        kept = asdict(self)
        return {name: kept[name] for name in kept if self.units or name not in OF_UNITS}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> "Estimate":
        return cls(**said)


@DETECTORS.register
class EstimatedAccuracy(WindowDetector):
    """Equal to NannyML's published estimates: tests/engine/test_label_detectors.py."""

    key = "estimated_accuracy"
    label = "Estimated accuracy"
    summary = (
        "What accuracy the student's confidence promises, before labels come (CBPE). Right where "
        "only the mix of rows changed; far too optimistic where the world is new (estimated .68 "
        "for a real .49): never believed without the sampled teacher."
    )
    formula = "mean of P(answer is right | probabilities), by isotonic calibration of each class"
    paper = "Białek et al.: Estimating model performance under covariate shift, 2401.08348"
    tasks = CLASSIFICATION
    watches = ("accuracy",)
    takes = ("estimates",)
    unit = "share of rows that are wrong, estimated"
    effect_unit = "drop of the estimated accuracy, above what chance adds"
    Options = AtLevel
    needs_labels = True  # on the reference

    def score(self, reference: Estimate, live: Estimate) -> Score:
        """Whether the estimate fell, one-sided, by the normal law of two means."""
        if not reference.rows:
            return Score.no_data(NO_REFERENCE)
        if not live.rows:
            return Score.no_data(NO_LIVE)
        fell = reference.accuracy - live.accuracy
        deviation = math.sqrt(reference.variance / reference.rows + live.variance / live.rows)
        reach = deviation * float(special.ndtri(1 - self.options.level))
        apart = fell / deviation if deviation else math.copysign(math.inf, fell) if fell else 0.0
        facts = {
            "accuracy": live.accuracy,
            "reference": reference.accuracy,
            "rows": live.rows,
            "caveat": CAVEAT,
        }
        effect = max(0.0, fell - deviation / math.sqrt(2 * math.pi))
        p = float(special.ndtr(-apart))
        return Score(1 - live.accuracy, p, effect, 1 - reference.accuracy + reach, facts)
