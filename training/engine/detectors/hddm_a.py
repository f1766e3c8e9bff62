import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine.detectors.detector import DETECTORS, StreamDetector
from training.engine.detectors.direction import BOTH, DIRECTION, DOWN, UP
from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Options:
    level: float = option(
        0.001, minimum=1e-12, maximum=0.5, help="How likely a false alarm may be at one value."
    )
    direction: str = DIRECTION


@DETECTORS.register
class HddmA(StreamDetector):
    """Values from 0 to 1. Equal to river's HDDM_A 0.26 with its own defaults."""

    key = "hddm_a"
    label = "HDDM-A"
    summary = (
        "Rings when the mean of all values lies above the mean up to its best moment by more than "
        "Hoeffding's bound allows. It supposes nothing of values but 0 to 1, and so misses what "
        "ADWIN, which knows their variance, finds of small changes."
    )
    formula = "x̄ₙ − x̄ₘ ≥ √((n − m) ln(2 / level) / (2 n m))"
    paper = "Frías-Blanco et al.: Drift detection based on Hoeffding's bounds, TKDE 27, 2015"
    watches = ("errors", "agreement")
    Options: ClassVar[type] = Options

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._begin()

    def _begin(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._best: tuple[int, float] = (0, 0.0)  # values and mean up to the lowest moment
        self._worst: tuple[int, float] = (0, 0.0)  # the highest one

    def update(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        self._count += 1
        self._mean += (value - self._mean) / self._count
        now = (self._count, self._mean)
        bound = self._bound(self._count)
        if not self._best[0] or self._best[1] + self._bound(self._best[0]) >= self._mean + bound:
            self._best = now
        if not self._worst[0] or self._worst[1] - self._bound(self._worst[0]) <= self._mean - bound:
            self._worst = now
        direction = self.options.direction
        rose = direction in (UP, BOTH) and self._parted(self._best, 1)
        fell = direction in (DOWN, BOTH) and self._parted(self._worst, -1)
        if rose or fell:
            self._begin()
        return rose or fell

    @property
    def state(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "mean": self._mean,
            "best": list(self._best),
            "worst": list(self._worst),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._count, self._mean = state["count"], state["mean"]
        self._best = (state["best"][0], state["best"][1])
        self._worst = (state["worst"][0], state["worst"][1])

    def _bound(self, count: int) -> float:
        return math.sqrt(math.log(1 / self.options.level) / (2 * count))

    def _parted(self, moment: tuple[int, float], sign: int) -> bool:
        count, mean = moment
        if count == self._count:
            return False
        share = (self._count - count) / (count * self._count)
        return sign * (self._mean - mean) >= math.sqrt(share / 2 * math.log(2 / self.options.level))
