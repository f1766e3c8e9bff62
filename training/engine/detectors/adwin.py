import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine.detectors.detector import DETECTORS, StreamDetector
from training.engine.detectors.direction import DIRECTION, harmful
from training.engine.options import option

PER_SIZE = 5  # buckets of one size before two of them become one of twice the size
LEAST = 5  # values on each side of a cut
GRACE = 10  # values before the first look
LARGEST = 1e100  # what lies beyond is no number here, so that squares can be added


@dataclass(frozen=True, slots=True)
class Options:
    delta: float = option(
        0.002,
        minimum=1e-9,
        maximum=0.5,
        help="How likely a false alarm may be at one look; smaller means later and surer.",
    )
    clock: int = option(32, minimum=1, maximum=100_000, help="Values from one look to the next.")
    direction: str = DIRECTION


@DETECTORS.register
class Adwin(StreamDetector):
    """The window is kept as buckets of 1, 2, 4 ... values, at most six of a size, so a million
    values take a hundred pairs of numbers. Having found a change it begins anew, as river does
    (the paper keeps the newer part): `estimate` is then the mean of what has come since.

    Equal to river's ADWIN 0.26 with its own defaults: tests/engine/test_stream_detectors.py.
    """

    key = "adwin"
    label = "ADWIN"
    summary = (
        "Follows a mean and finds, without being told where to look, that its newer part differs "
        "from its older. Few false alarms; the one to begin with for errors and disagreement."
    )
    formula = "|μ₀ − μ₁| > √(2 σ² ln(2 ln n / δ) / m) + 2 ln(2 ln n / δ) / (3m), 1/m = 1/n₀ + 1/n₁"
    paper = "Bifet, Gavaldà: Learning from time-changing data with adaptive windowing, SDM 2007"
    watches = ("errors", "agreement", "numbers")
    Options: ClassVar[type] = Options

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self._begin()

    def _begin(self) -> None:
        self._ticks = self._width = 0
        self._total = self._spread = 0.0  # spread: the sum of squared deviations
        # By size, oldest bucket first within one; each bucket is its total and its spread.
        self._sizes: list[list[list[float]]] = [[]]

    @property
    def estimate(self) -> float | None:
        """The mean of the window, None of none."""
        return self._total / self._width if self._width else None

    def update(self, value: float) -> bool:
        if not abs(value) <= LARGEST:  # nor is NaN
            return False
        self._ticks += 1
        self._insert(float(value))
        if self._ticks % self.options.clock or self._width <= GRACE:
            return False
        found = False
        rose = 0.0
        while (cut := self._cut()) is not None:
            found, rose = True, rose or cut
            self._drop_oldest()
        if not found:
            return False
        self._begin()
        return harmful(rose, self.options.direction)

    @property
    def state(self) -> dict[str, Any]:
        return {
            "ticks": self._ticks,
            "width": self._width,
            "total": self._total,
            "spread": self._spread,
            "sizes": [[list(bucket) for bucket in size] for size in self._sizes],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        self._ticks, self._width = state["ticks"], state["width"]
        self._total, self._spread = state["total"], state["spread"]
        self._sizes = [[list(bucket) for bucket in size] for size in state["sizes"]]

    def _insert(self, value: float) -> None:
        if self._width:
            away = value - self._total / self._width
            self._spread += self._width * away * away / (self._width + 1)
        self._width += 1
        self._total += value
        self._sizes[0].append([value, 0.0])
        for place, buckets in enumerate(self._sizes):
            if len(buckets) <= PER_SIZE:
                break
            (one, spread), (other, further) = buckets[:2]
            del buckets[:2]
            apart = (one - other) / 2**place
            if place + 1 == len(self._sizes):
                self._sizes.append([])
            self._sizes[place + 1].append(
                [one + other, spread + further + apart * apart * 2**place / 2]
            )

    def _cut(self) -> float | None:
        """How far the mean rose at the first cut, from the oldest on, that parts two means; None
        where there is none."""
        count, total = self._width, self._total
        variance = max(0.0, self._spread / count)  # rounding may leave less than nothing
        log = math.log(2 * math.log(count) / float(self.options.delta))
        older, sum_of_older = 0, 0.0
        for place in range(len(self._sizes) - 1, -1, -1):
            for bucket in self._sizes[place]:
                older += 2**place
                sum_of_older += bucket[0]
                newer = count - older
                if newer < LEAST:
                    return None
                if older < LEAST:
                    continue
                inverse = 1 / (older - LEAST + 1) + 1 / (newer - LEAST + 1)
                rose: float = (total - sum_of_older) / newer - sum_of_older / older
                if abs(rose) > math.sqrt(2 * inverse * variance * log) + 2 / 3 * log * inverse:
                    return rose
        return None

    def _drop_oldest(self) -> None:
        place = len(self._sizes) - 1
        total, spread = self._sizes[place].pop(0)
        count = 2**place
        self._width -= count
        self._total -= total
        apart = total / count - self._total / self._width
        self._spread -= spread + count * self._width * apart * apart / (count + self._width)
        while len(self._sizes) > 1 and not self._sizes[-1]:
            self._sizes.pop()
