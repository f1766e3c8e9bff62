"""How busy a worker was: the last hour every ten seconds, the last day every minute.

Samples go into a dozen rows, one for each stretch of time, of which the newest grows; what is older
than its window goes. A sample costs one statement however many series it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from training.models import WorkerLoad

Series = dict[str, list[float | None]]


class Window(NamedTuple):
    name: str
    every: int  # seconds between two samples
    stretch: int  # seconds of one row
    length: int  # seconds that are kept


HOUR = Window("hour", 10, 600, 3600)
DAY = Window("day", 60, 4 * 3600, 86_400)
WINDOWS = {window.name: window for window in (HOUR, DAY)}


def of_load(load: Mapping[str, Any]) -> dict[str, float | None]:
    """What `machine.load` says by name: percent, bytes of a GPU's memory, °C and watts."""
    found = {"cpu": load.get("cpu_percent"), "memory": load.get("memory_percent")}
    for card in load.get("gpus") or []:
        at = f"gpu{card['index']}"
        found[f"{at}/load"] = card.get("percent")
        found[f"{at}/memory"] = card.get("memory_used_bytes")
        found[f"{at}/celsius"] = card.get("celsius")
        found[f"{at}/watts"] = card.get("watts")
    return found


@dataclass(slots=True)
class Stretch:
    """The samples of one row."""

    begins: int
    times: list[int] = field(default_factory=list)
    series: Series = field(default_factory=dict)

    def add(self, at: int, values: Mapping[str, float | None]) -> None:
        for name in values:  # a card that came later was not there before
            self.series.setdefault(name, [None] * len(self.times))
        self.times.append(at)
        for name, column in self.series.items():
            value = values.get(name)
            column.append(None if value is None else round(value, 1))


class History:
    """What one worker's heartbeat notes."""

    def __init__(self, worker_id: int) -> None:
        self.worker_id = worker_id
        self._now: dict[int, Stretch] = {}
        self._waiting: dict[tuple[int, int], Stretch] = {}  # not written yet, by every and begin
        self._minute: list[dict[str, float | None]] = []

    def note(self, load: Mapping[str, Any], at: float) -> None:
        """Take a sample of time `at`, in seconds since the epoch."""
        values = of_load(load)
        self._add(HOUR, int(at), values)
        self._minute.append(values)
        stretch = self._now.get(DAY.every)
        if stretch is None or int(at) - stretch.times[-1] >= DAY.every:
            self._add(DAY, int(at), _mean(self._minute))
            self._minute = []

    def save(self) -> None:
        """Write what is new. Raises DatabaseError; it is then written the next time."""
        rows = [
            WorkerLoad(
                worker_id=self.worker_id,
                every=every,
                begins=begins,
                samples={"times": one.times, "series": one.series},
            )
            for (every, begins), one in self._waiting.items()
        ]
        if not rows:
            return
        WorkerLoad.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["worker", "every", "begins"],
            update_fields=["samples"],
        )
        self._waiting.clear()

    def _add(self, window: Window, at: int, values: Mapping[str, float | None]) -> None:
        begins = at // window.stretch * window.stretch
        stretch = self._now.get(window.every)
        if stretch is None or stretch.begins != begins:
            stretch = self._now[window.every] = Stretch(begins)
        if stretch.times and at <= stretch.times[-1]:  # the clock was set back
            return
        stretch.add(at, values)
        self._waiting[window.every, begins] = stretch
        while len(self._waiting) > 20:  # the database is away for long
            del self._waiting[min(self._waiting, key=lambda one: one[1])]


def forget_old(now: float) -> None:
    """Remove what no window shows any more, of all workers."""
    for window in WINDOWS.values():
        WorkerLoad.objects.filter(
            every=window.every, begins__lt=int(now) - window.length - window.stretch
        ).delete()


def _mean(samples: list[dict[str, float | None]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for name in {name for one in samples for name in one}:
        known = [value for one in samples if (value := one.get(name)) is not None]
        found[name] = sum(known) / len(known) if known else None
    return found
