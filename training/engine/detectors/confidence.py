"""How sure the student is of its answers, in two views: entropy, and the highest probability."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from training.engine.detectors import chance
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.detectors.kolmogorov_smirnov import KolmogorovSmirnov
from training.engine.registry import CLASSIFICATION

Floats = NDArray[np.float64]


class Sureness(NamedTuple):
    """Two columns of numbers `[rows]`, or a sketch of each (`NumberBins.sketch`)."""

    entropy: Any  # nats
    top: Any

    @classmethod
    def of(cls, probabilities: Any) -> "Sureness":
        """Of `[rows, classes]`; a row with anything that is no probability is NaN in both."""
        told = np.asarray(probabilities, dtype=np.float64)
        if told.size == 0:
            return cls(np.empty(0), np.empty(0))
        good = np.all(np.isfinite(told) & (told >= 0), axis=1)
        told = np.where(good[:, None], told, np.nan)
        spread = np.where(told > 0, -told * np.log(np.where(told > 0, told, 1.0)), told * 0.0)
        return cls(spread.sum(axis=1), told.max(axis=1))

    @classmethod
    def of_sets(cls, probabilities: Any) -> "Sureness":
        """Of `[rows, labels]`, of which each holds or not by itself: the mean entropy of a label,
        and how likely the likeliest set of labels is, were labels independent."""
        told = np.asarray(probabilities, dtype=np.float64)
        if told.size == 0:
            return cls(np.empty(0), np.empty(0))
        good = np.all(np.isfinite(told) & (told >= 0) & (told <= 1), axis=1)
        held = np.where(good[:, None], told, np.nan)
        spread = special.entr(held) + special.entr(1 - held)
        return cls(spread.mean(axis=1), np.maximum(held, 1 - held).prod(axis=1))


@DETECTORS.register
class Confidence(WindowDetector):
    key = "confidence"
    label = "Confidence"
    summary = (
        "Kolmogorov-Smirnov on the entropy of the student's answers and on its highest "
        "probability. Needs neither label nor teacher, and finds texts of a foreign kind where "
        "tests on embeddings do not (at 10 % foreign rows, 95 of 100 windows against 10)."
    )
    formula = "max |F(x) − G(x)| of both; p is twice the smaller one"
    paper = "Rabanser et al.: Failing loudly, 1810.11953; Smirnov 1948"
    tasks = CLASSIFICATION
    watches = ("confidence",)
    takes = ("confidences",)
    unit = "difference of shares"
    effect_unit = "difference above what chance adds"
    Options = chance.AtLevel

    def score(self, reference: Any, live: Any) -> Score:
        """Two `Sureness`, of rows or of sketches, or two arrays `[rows, classes]`."""
        one, two = (
            side if isinstance(side, Sureness) else Sureness.of(side) for side in (reference, live)
        )
        # Each view has half of the level, as Bonferroni shares it out.
        view = KolmogorovSmirnov(chance.AtLevel(level=self.options.level / 2))
        found = {
            name: view.score(getattr(one, name), getattr(two, name)) for name in Sureness._fields
        }
        ranked = sorted(
            (name for name in found if found[name].known),
            key=lambda name: (found[name].p, -(found[name].effect or 0.0)),
        )
        if not ranked:
            return found["entropy"]
        first = found[ranked[0]]
        facts = {
            "view": ranked[0],
            **{name: {"value": each.value, "p": each.p} for name, each in found.items()},
        }
        p = min(1.0, 2 * (1.0 if first.p is None else first.p))
        return Score(first.value, p, first.effect, first.limit, facts)
