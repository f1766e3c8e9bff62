"""What a detector says when nothing has drifted: windows cut out of the reference itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.engine import sketches
from training.engine.detectors.detector import JSON, WindowDetector
from training.engine.shares import wilson

WINDOWS = 200  # at most, over all deals
DEALS = 20  # at most


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """`rate` of windows whose p was below `level`, with its interval of 95 %; `values` are the
    scores of them all, rising, and `limit` what one in twenty passed. `deals` is how often the
    reference was cut anew: windows of one deal are compared with the same half of it."""

    level: float
    windows: int
    deals: int
    alarms: int
    values: tuple[float, ...]
    effects: tuple[float, ...]

    @property
    def rate(self) -> float | None:
        return self.alarms / self.windows if self.windows else None

    @property
    def interval(self) -> list[float] | None:
        return wilson(self.alarms / self.windows, self.windows) if self.windows else None

    @property
    def limit(self) -> float | None:
        return float(np.quantile(self.values, 0.95)) if self.values else None

    def as_dict(self) -> JSON:
        return {
            "level": self.level,
            "windows": self.windows,
            "deals": self.deals,
            "alarms": self.alarms,
            "rate": self.rate,
            "interval": self.interval,
            "limit": self.limit,
            "values": list(self.values),
            "effects": list(self.effects),
        }


def false_alarms(
    detector: WindowDetector,
    kind: str,
    rows: Any,
    size: int,
    *,
    level: float = 0.05,
    windows: int = WINDOWS,
    seed: int = 0,
) -> FalseAlarms:
    """How often a detector finds drift where there is none.

    The reference is dealt out by chance: one half stands for the reference, and disjoint windows
    of `size` rows are cut out of the other; then it is dealt anew, until there are enough windows.
    Half a reference is less sure than the whole, so what chance does is a little overstated. `kind`
    is one of sketches.BINS, `rows` the values or vectors. No window at all where the reference has
    fewer than 2 · `size` rows.
    """
    every = rows if isinstance(rows, np.ndarray) else _column(rows)
    half = len(every) // 2
    each = half // size if size > 0 else 0
    chance = np.random.RandomState(seed)
    values: list[float] = []
    effects: list[float] = []
    alarms = deals = 0
    while each and len(values) < windows and deals < DEALS:
        deals += 1
        dealt = every[chance.permutation(len(every))]
        reference: Any = dealt[: len(every) - half]
        cut = [dealt[len(every) - half + at * size :][:size] for at in range(each)]
        if "sketches" in detector.takes:
            bins = sketches.fit(kind, reference)
            reference, cut = bins.sketch(reference), [bins.sketch(one) for one in cut]
        for one in cut[: windows - len(values)]:
            score = detector.score(reference, one)
            if score.value is None or score.p is None:
                continue
            values.append(score.value)
            effects.append(score.effect or 0.0)
            alarms += score.p < level
    return FalseAlarms(
        level, len(values), deals, alarms, tuple(sorted(values)), tuple(sorted(effects))
    )


def _column(values: Sequence[Any]) -> Any:
    """A list as an array whose cells stay what they are."""
    found = np.empty(len(values), dtype=object)
    found[:] = list(values)
    return found
