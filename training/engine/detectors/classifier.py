"""Classifier two-sample test: can one tell rows of the window from rows of the reference?"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from training.engine.detectors import cells, chance
from training.engine.detectors.chance import Floats
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.detectors.mmd import sample
from training.engine.options import option
from training.engine.sketches.embeddings import whole

FEWEST = 20  # rows of a side
STEPS = 30  # of Newton, of which about eight are needed
CLOSE = 1e-8  # a step of Newton that is the last
TINY = 1e-9


@dataclass(frozen=True, slots=True)
class Options(chance.AtLevel):
    rows: int = option(
        2000, minimum=50, maximum=20000, help="Rows of each side that are looked at, at most."
    )
    penalty: float = option(
        1.0, minimum=1e-3, maximum=1e3, help="How much large weights cost, as 1 / C elsewhere."
    )


@DETECTORS.register
class Classifier(WindowDetector):
    key = "classifier"
    label = "Classifier two-sample test"
    summary = (
        "A logistic regression learns on one half of the rows which window each comes from, and "
        "answers the other half: without drift it is right half of the time. Its answers put rows "
        "in order, the most foreign first."
    )
    formula = "AUC on held-out rows; p of Mann and Whitney, one-sided"
    paper = "Lopez-Paz, Oquab: Revisiting Classifier Two-Sample Tests, ICLR 2017, 1610.06545"
    watches = ("embeddings",)
    takes = ("rows",)
    unit = "AUC, 0.5 without drift"
    effect_unit = "2 AUC − 1, above 0"
    Options = Options

    def score(self, reference: Any, live: Any) -> Score:
        """Two arrays `[rows, width]`. The same rows are chosen, and halved, every time."""
        one = sample(whole(reference)[0], self.options.rows)
        two = sample(
            whole(live, one.shape[1])[0] if len(one) else whole(live)[0], self.options.rows
        )
        if not len(one) or not len(two):
            return Score.no_data(cells.NO_LIVE if len(one) else cells.NO_REFERENCE)
        if len(one) < FEWEST or len(two) < FEWEST:
            return Score.no_data(
                f"{FEWEST} rows of each side are the least that can be told apart."
            )
        seed = np.random.RandomState(0)
        halves = [seed.permutation(len(side)) % 2 == 0 for side in (one, two)]
        learnt = [side[half] for side, half in zip((one, two), halves, strict=True)]
        asked = [side[~half] for side, half in zip((one, two), halves, strict=True)]
        told = logistic(learnt[0], learnt[1], self.options.penalty)
        scores = [told(side) for side in asked]
        value, deviation = area(scores[0], scores[1])
        apart = (value - 0.5) / deviation if deviation else 0.0
        limit = 0.5 + float(special.ndtri(1 - self.options.level)) * deviation
        facts = {"rows": [len(side) for side in asked]}
        return Score(value, float(special.ndtr(-apart)), max(0.0, 2 * value - 1), limit, facts)


def logistic(reference: Any, live: Any, penalty: float) -> Callable[[Any], Floats]:
    """A regression that tells how likely a row is of `live`, in log odds; both sides weigh the
    same. It takes rows `[rows, width]` and answers `[rows]`.

    By Newton's steps (Hastie et al., Elements of Statistical Learning, 4.4.1) on columns of mean 0
    and deviation 1; the cost of weights is `penalty` · ½ ‖w‖², that of the constant 0.
    """
    rows = np.concatenate([reference, live]).astype(np.float64)
    centre, scale = rows.mean(axis=0), rows.std(axis=0)
    scale[scale < TINY] = np.inf  # of a column that never varies nothing is learnt

    def laid_out(some: Any) -> Floats:
        return np.column_stack([(some.astype(np.float64) - centre) / scale, np.ones(len(some))])

    x = laid_out(rows)
    truth = np.repeat([0.0, 1.0], [len(reference), len(live)])
    weigh = np.repeat([len(rows) / 2 / len(reference), len(rows) / 2 / len(live)],
                      [len(reference), len(live)])  # fmt: skip
    cost = np.full(x.shape[1], penalty)
    cost[-1] = 0.0
    weights = np.zeros(x.shape[1])
    for _ in range(STEPS):
        said = special.expit(x @ weights)
        slope = x.T @ (weigh * (said - truth)) + cost * weights
        bend = (x * (weigh * said * (1 - said))[:, None]).T @ x + np.diag(cost + TINY)
        step = np.linalg.solve(bend, slope)
        weights -= step
        if np.abs(step).max() < CLOSE:
            break
    return lambda some: laid_out(some) @ weights


def area(low: Floats, high: Floats) -> tuple[float, float]:
    """How often a value of `high` is above one of `low`, a tie counting half, and its deviation
    where both are alike (Mann, Whitney 1947; with ties, Lehmann, Nonparametrics, 1.4)."""
    n, m = len(low), len(high)
    _, where, counts = np.unique(
        np.concatenate([low, high]), return_inverse=True, return_counts=True
    )
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[where]
    value = float((ranks[n:].sum() - m * (m + 1) / 2) / (n * m))
    ties = float((counts.astype(np.float64) ** 3 - counts).sum())
    every = n + m
    variance = (every + 1 - ties / (every * (every - 1))) / (12 * n * m)
    return value, max(0.0, variance) ** 0.5
