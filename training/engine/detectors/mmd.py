"""Maximum mean discrepancy of rows, with permutations."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from training.engine.detectors import cells, chance
from training.engine.detectors.chance import Floats
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.options import option
from training.engine.sketches.embeddings import bandwidth, squared_distances, whole

FEWEST = 4  # rows of a side


@dataclass(frozen=True, slots=True)
class Options(chance.AtLevel):
    rows: int = option(
        1000, minimum=50, maximum=4000, help="Rows of each side that are compared, at most."
    )
    permutations: int = option(200, minimum=50, maximum=5000, help="How often rows are dealt anew.")


@DETECTORS.register
class Mmd(WindowDetector):
    key = "mmd"
    label = "MMD, exact on a sample"
    summary = (
        "The discrepancy of a Gaussian kernel between all pairs of two samples of rows, and what "
        "it is when the rows are dealt out anew. As wide as half the median of the reference's "
        "squared distances."
    )
    formula = "mean k(xᵢ, xⱼ) + mean k(yᵢ, yⱼ) − 2 mean k(x, y), i ≠ j"
    paper = "Gretton et al., A Kernel Two-Sample Test, JMLR 2012, equation 3"
    watches = ("embeddings",)
    takes = ("rows",)
    unit = "squared discrepancy, unbiased"
    effect_unit = "discrepancy, 0 to 1.4"
    Options = Options

    def score(self, reference: Any, live: Any) -> Score:
        """Two arrays `[rows, width]`. The same rows are chosen, and dealt, every time."""
        one = sample(whole(reference)[0], self.options.rows)
        two = sample(
            whole(live, one.shape[1])[0] if len(one) else whole(live)[0], self.options.rows
        )
        if len(one) < FEWEST or len(two) < FEWEST:
            short = cells.NO_REFERENCE if not len(one) else cells.NO_LIVE
            few = f"{FEWEST} rows of each side are the least that can be compared."
            return Score.no_data(few if len(one) and len(two) else short)
        width = bandwidth(one)
        both = np.concatenate([one, two])
        kernel = np.exp(-squared_distances(both, both) / (2 * width**2))
        n, m = len(one), len(two)
        np.fill_diagonal(kernel, 0.0)
        chosen = np.zeros((n + m, 1))
        chosen[:n] = 1.0
        value = float(_discrepancies(kernel, chosen, n, m)[0])
        chance_ = np.random.RandomState(0)
        dealt = np.stack(
            [chance_.permutation(chosen[:, 0]) for _ in range(self.options.permutations)], axis=1
        )
        drawn = _discrepancies(kernel, dealt, n, m)
        usual = chance.Curve.of(drawn)
        return Score(
            value,
            chance.p_of(value, drawn),
            max(0.0, value) ** 0.5,
            usual.limit(self.options.level),
            {"bandwidth": width, "rows": [n, m]},
        )


def sample(rows: Any, most: int) -> Any:
    """At most so many rows, the same every time."""
    if len(rows) <= most:
        return rows
    return rows[np.sort(np.random.RandomState(0).choice(len(rows), most, replace=False))]


def _discrepancies(kernel: Floats, chosen: Floats, n: int, m: int) -> Floats:
    """`[draws]`, of a kernel `[rows, rows]` without its diagonal; `chosen` `[rows, draws]` is 1 for
    rows of the first sample."""
    along = kernel @ chosen
    first = (chosen * along).sum(axis=0)
    across = along.sum(axis=0) - first
    second = kernel.sum() - first - 2 * across
    found: Floats = first / (n * (n - 1)) + second / (m * (m - 1)) - 2 * across / (n * m)
    return found
