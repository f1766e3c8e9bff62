"""Kolmogorov-Smirnov along the principal components of embeddings."""

from typing import Any

import numpy as np

from training.engine.detectors import cells, chance
from training.engine.detectors.detector import DETECTORS, Score, WindowDetector
from training.engine.detectors.kolmogorov_smirnov import difference, p_value, passed
from training.engine.sketches import EmbeddingSketch

HALF = 0.5  # of all times the largest of many is larger by chance: what is taken off the effect


@DETECTORS.register
class PcaKs(WindowDetector):
    key = "pca_ks"
    label = "PCA and Kolmogorov-Smirnov"
    summary = (
        "The reference's up to 32 principal components, each tested on its own, and Bonferroni: "
        "finds a shift along one direction that the kernel of all directions hardly sees."
    )
    formula = "p = min(1, d · min_i p_i)"
    paper = "Rabanser, Günnemann, Lipton: Failing Loudly, NeurIPS 2019, 1810.11953"
    watches = ("embeddings",)
    unit = "difference of shares, of the component that moved most"
    effect_unit = "difference above what chance adds to the largest"
    Options = chance.AtLevel

    def score(self, reference: Any, live: Any) -> Score:
        if said := _lacking(reference, live):
            return Score.no_data(said)
        n, m = reference.rows, live.rows
        found = [
            difference(one, two)[0] for one, two in zip(reference.counts, live.counts, strict=True)
        ]
        which = int(np.argmax(found))
        value, many = found[which], len(found)
        p = min(1.0, many * p_value(value, n, m))
        limit = passed(self.options.level / many, n, m)
        usual = passed(HALF / many, n, m)
        facts = {"component": which, "components": many}
        return Score(value, p, max(0.0, value - usual), limit, facts)


def _lacking(reference: Any, live: Any) -> str:
    if not isinstance(reference, EmbeddingSketch):
        raise ValueError("This detector compares sketches of embeddings.")
    return cells.lacking(reference, live)
