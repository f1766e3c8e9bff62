"""What curves of a run are read by: series, and the trend that is no noise. Plain Python."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

Series = Mapping[str, Mapping[str, Sequence[Any]]]
Points = list[tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What diagnoses look at. `weights` are those of the terms, and `ends` those at the end, in
    the last stage; `softened` is what the teacher's answers have at the run's temperatures:
    `{"temperature", "entropy", "other_mass", "most"}`."""

    series: Series
    weights: Mapping[str, float]
    ends: Mapping[str, float]
    softened: Sequence[Mapping[str, float]] = ()
    proposed: float | None = None
    metric: str = ""  # by which the run is judged
    falls: bool = False  # less of it is better
    max_grad_norm: float | None = None
    learning_rate: float | None = None

    def points(self, name: str) -> Points:
        """Those of a series that are numbers."""
        found = self.series.get(name)
        if not found:
            return []
        return [
            (int(step), float(value))
            for step, value in zip(found["steps"], found["values"], strict=True)
            if isinstance(value, int | float) and math.isfinite(value)
        ]

    def late_share(self, term: str) -> float | None:
        """The median of its share of the gradient in the second half of the measurements."""
        values = [value for _, value in self.points(f"train/{term}_share")]
        return median(values[len(values) // 2 :]) if len(values) > 1 else None


def smooth(points: Points) -> Points:
    """The mean of the last steps, more of longer runs: batches differ."""
    width = max(3, min(50, len(points) // 20))
    found, total = [], 0.0
    for place, (step, value) in enumerate(points):
        total += value
        if place >= width:
            total -= points[place - width][1]
        found.append((step, total / min(place + 1, width)))
    return found


def calmed(points: Points) -> Points:
    """The median of three neighbours."""
    if len(points) < 3:
        return points
    middle = [
        (points[place][0], median(value for _, value in points[place - 1 : place + 2]))
        for place in range(1, len(points) - 1)
    ]
    return [points[0], *middle, points[-1]]


def noise(points: Points) -> float:
    """How far neighbours are apart beside the trend."""
    steps = [other[1] - one[1] for one, other in itertools.pairwise(points)]
    if len(steps) < 2:
        return 0.0
    middle = median(steps)
    return median(abs(one - middle) for one in steps)


def near(points: Points, step: int) -> float:
    """The value at the step, or at the last one before."""
    before = [value for at, value in points if at <= step]
    return before[-1] if before else points[0][1]


def mean(points: Points) -> float:
    return sum(value for _, value in points) / len(points)
