"""Errors and disagreements as they came, row by row, over windows and looks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from training.engine.detectors import StreamDetector
from training.engine.watching import signals
from training.engine.watching.counting import View
from training.engine.watching.windows import Sums

JSON = dict[str, Any]
RECENT = 50  # values, by whose mean it is told how far a stream rose

Value = tuple[float, int, float]  # time, window, 0 or 1 (or how far a number is off)


def values(view: View, windows: Sequence[int], *, later: bool) -> dict[str, list[Value]]:
    """Of each stream what these rows add: of rows that were counted before (`later`), only what is
    new. A row's place in the stream is its time among those that are told of at once."""
    labels = answers = np.ones(len(view), dtype=bool)
    if later:
        labels, answers = (
            np.array([bool(one) for one in view.table[name].to_pylist()], dtype=bool)
            for name in ("label_is_new", "answer_is_new")
        )
    wrong = view.error if view.error is not None else 1 - view.right
    differs = view.difference if view.difference is not None else 1 - view.agrees
    told = {
        "error_stream": np.where(labels, wrong, math.nan),
        "disagreement_stream": np.where(answers, differs, math.nan),
    }
    return {
        name: [
            (float(view.times[at]), windows[at], float(many[at]))
            for at in np.flatnonzero(np.isfinite(many)).tolist()
        ]
        for name, many in told.items()
    }


def follow(
    found: Mapping[str, Sequence[Value]],
    states: Mapping[str, Sequence[JSON]],
    asked: Mapping[str, Sequence[Mapping[str, Any]]],
    open_from: int | None,
) -> tuple[dict[int, Sums], dict[str, list[JSON]]]:
    """Take the values in; where it rang, by window, and the states to go on from.

    A state is {"kind", "state", "count", "total", "recent"}; that of a detector that is not asked
    any more is forgotten. What rings at a row whose window was judged already is told by the first
    that is not (`open_from`): no alarm is lost because its label came late.
    """
    rang: dict[int, Sums] = {}
    kept: dict[str, list[JSON]] = {}
    for name in signals.STREAMS:
        before = {one["kind"]: one for one in states.get(name, ())}
        for detector in signals.detectors_of(name, name, asked):
            if not isinstance(detector, StreamDetector):
                continue
            told = before.get(detector.key, {"count": 0, "total": 0.0, "recent": []})
            if "state" in told:
                detector.restore(told["state"])
            passed = _Passed(told["count"], told["total"], list(told["recent"]))
            for _, window, value in sorted(found.get(name, ())):
                passed.add(value)
                if detector.update(value):
                    number = window if open_from is None else max(window, open_from)
                    ring = {"times": 1, "rose": passed.rose}
                    one = Sums(rang={f"{name}/{detector.key}": ring})
                    rang[number] = rang.get(number, Sums()).merge(one)
                    passed = _Passed(0, 0.0, [])
            kept.setdefault(name, []).append(
                {"kind": detector.key, "state": detector.state, **asdict(passed)}
            )
    return rang, kept


@dataclass(slots=True)
class _Passed:
    """What has come since it rang: all that lies further back than RECENT values, and these."""

    count: int
    total: float
    recent: list[float]

    def add(self, value: float) -> None:
        self.recent.append(value)
        if len(self.recent) > RECENT:
            self.count, self.total = self.count + 1, self.total + self.recent.pop(0)

    @property
    def rose(self) -> float:
        """How far the mean of the newest lies above that of the older; 0 where it fell."""
        newest = sum(self.recent) / len(self.recent)
        return max(0.0, newest - self.total / self.count) if self.count else newest
