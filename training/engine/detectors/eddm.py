import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine.detectors.detector import DETECTORS, StreamDetector
from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Options:
    share: float = option(
        0.9,
        minimum=0.1,
        maximum=0.999,
        help="It rings where errors come this much closer together than at their rarest.",
    )
    least: int = option(30, minimum=2, maximum=1_000_000, help="Errors before the first alarm.")


@DETECTORS.register
class Eddm(StreamDetector):
    """Values are 1 for an error and 0. Equal to river's EDDM 0.26 with its own defaults."""

    key = "eddm"
    label = "EDDM"
    summary = (
        "Looks at how many values lie between two errors. The quickest, and not to be trusted "
        "alone: of errors at an even rate it rings 19 times in 10 000 values. No monitor should "
        "begin with it."
    )
    formula = "(p + 2 s) / max(p + 2 s) < 0.9, p and s of the distances between errors"
    paper = "Baena-García et al.: Early drift detection method, 2006"
    watches = ("errors", "agreement")
    Options: ClassVar[type] = Options

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._begin()

    def _begin(self) -> None:
        self._count = self._errors = self._last = 0
        self._mean = self._spread = 0.0  # of the distances; spread: sum of squared deviations
        self._highest = -1.0

    def update(self, value: float) -> bool:
        if not math.isfinite(value):
            return False
        self._count += 1
        if value < 0.5:
            return False
        distance = self._count - self._last
        self._last = self._count
        self._errors += 1
        away = distance - self._mean
        self._mean += away / self._errors
        self._spread += away * (distance - self._mean)
        if self._count <= self.options.least:
            return False
        reach = self._mean + 2 * math.sqrt(self._spread / max(1, self._errors - 1))
        if reach > self._highest:
            self._highest = reach
            return False
        if self._errors <= self.options.least or reach >= self.options.share * self._highest:
            return False
        self._begin()
        return True

    @property
    def state(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "errors": self._errors,
            "last": self._last,
            "mean": self._mean,
            "spread": self._spread,
            "highest": self._highest,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._count, self._errors, self._last = state["count"], state["errors"], state["last"]
        self._mean, self._spread = state["mean"], state["spread"]
        self._highest = state["highest"]
