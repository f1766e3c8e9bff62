import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine.detectors.detector import DETECTORS, StreamDetector
from training.engine.detectors.direction import BOTH, DIRECTION, DOWN, UP
from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Options:
    delta: float = option(
        0.005, minimum=0.0, maximum=1e6, help="Changes of the mean smaller than this are let pass."
    )
    threshold: float = option(
        50.0,
        minimum=1e-6,
        maximum=1e9,
        help="How much must add up; for errors of 0 and 1 about the rows that are wrong too often.",
    )
    least: int = option(30, minimum=1, maximum=1_000_000, help="Values before the first alarm.")
    forgetting: float = option(
        0.9999, minimum=0.5, maximum=1.0, help="What of the sum is kept from value to value."
    )
    direction: str = DIRECTION


@DETECTORS.register
class PageHinkley(StreamDetector):
    """Equal to river's PageHinkley 0.26 with its own defaults."""

    key = "page_hinkley"
    label = "Page-Hinkley"
    summary = (
        "Adds up how far values lie above their mean so far, and rings when the sum has risen by "
        "a threshold from its lowest. Two numbers of state; slower than ADWIN on small changes."
    )
    formula = "mₜ = f mₜ₋₁ + xₜ − x̄ₜ − δ; mₜ − min mₛ > λ"
    paper = "Page: Continuous inspection schemes, Biometrika 41, 1954"
    watches = ("errors", "agreement", "numbers")
    Options: ClassVar[type] = Options

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._begin()

    def _begin(self) -> None:
        self._count = 0
        self._mean = self._above = self._below = 0.0
        self._lowest, self._highest = math.inf, -math.inf

    def update(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        asked = self.options
        self._count += 1
        self._mean += (value - self._mean) / self._count
        away = value - self._mean
        self._above = asked.forgetting * self._above + away - asked.delta
        self._below = asked.forgetting * self._below + away + asked.delta
        self._lowest = min(self._lowest, self._above)
        self._highest = max(self._highest, self._below)
        rose = self._above - self._lowest > asked.threshold
        fell = self._highest - self._below > asked.threshold
        if self._count < asked.least or not (
            (rose and asked.direction in (UP, BOTH)) or (fell and asked.direction in (DOWN, BOTH))
        ):
            return False
        self._begin()
        return True

    @property
    def state(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "mean": self._mean,
            "above": self._above,
            "below": self._below,
            "lowest": self._lowest if self._count else None,
            "highest": self._highest if self._count else None,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._begin()
        self._count, self._mean = state["count"], state["mean"]
        self._above, self._below = state["above"], state["below"]
        if self._count:
            self._lowest, self._highest = state["lowest"], state["highest"]
