"""Whether confidence can be believed. Without torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of the diagram, as Guo et al. 1706.04599 use


def diagram(confidence: NDArray[Any], right: NDArray[Any]) -> tuple[float, list[dict[str, float]]]:
    """Expected calibration error, and the reliability diagram's bins (Guo et al. 1706.04599,
    equation 3): does an answer given with 80 % confidence hold in 80 % of the cases?

    confidence, right: `[rows]`, the latter 1 and 0.
    """
    edges = np.linspace(0.0, 1.0, BINS + 1)
    which = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, BINS - 1)
    error, bins = 0.0, []
    for place in range(BINS):
        inside = which == place
        count = int(inside.sum())
        sure = float(confidence[inside].mean()) if count else 0.0
        held = float(right[inside].mean()) if count else 0.0
        error += abs(sure - held) * count / len(right)
        bins.append(
            {
                "low": float(edges[place]),
                "high": float(edges[place + 1]),
                "count": count,
                "confidence": sure,
                "accuracy": held,
            }
        )
    return error, bins
