import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine.detectors.detector import DETECTORS, StreamDetector
from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Options:
    deviations: float = option(
        3.0,
        minimum=0.5,
        maximum=20.0,
        help="How many standard deviations the errors may rise above their lowest.",
    )
    least: int = option(30, minimum=1, maximum=1_000_000, help="Values before the first alarm.")


@DETECTORS.register
class Ddm(StreamDetector):
    """Values are 1 for an error and 0. Equal to river's DDM 0.26 with its own defaults."""

    key = "ddm"
    label = "DDM"
    summary = (
        "Rings when the rate of errors lies three deviations above the lowest it ever had. The "
        "lowest of many is low by chance, so that it rings without cause more often than ADWIN, "
        "above all within its first thousand values."
    )
    formula = "p + s > p_min + 3 s_min, s = √(p (1 − p) / n)"
    paper = "Gama, Medas, Castillo, Rodrigues: Learning with drift detection, SBIA 2004"
    watches = ("errors", "agreement")
    Options: ClassVar[type] = Options

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._begin()

    def _begin(self) -> None:
        self._count = 0
        self._rate = 0.0
        self._lowest: list[float] | None = None  # rate and deviation

    def update(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        self._count += 1
        self._rate += (value - self._rate) / self._count
        if self._count <= self.options.least:
            return False
        deviation = math.sqrt(max(0.0, self._rate * (1 - self._rate)) / self._count)
        if self._lowest is None or self._rate + deviation <= sum(self._lowest):
            self._lowest = [self._rate, deviation]
        rate, least = self._lowest
        if self._rate + deviation <= rate + self.options.deviations * least:
            return False
        self._begin()
        return True

    @property
    def state(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "rate": self._rate,
            "lowest": None if self._lowest is None else list(self._lowest),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._count, self._rate = state["count"], state["rate"]
        self._lowest = None if state["lowest"] is None else list(state["lowest"])
