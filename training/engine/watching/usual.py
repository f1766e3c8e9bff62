"""What is usual at this hour: earlier windows by which volume and latency are judged."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

JSON = dict[str, Any]
Windows = Sequence[Mapping[str, Any]]  # {"number", "rows", "p95"}, numbers rising

#: Hours after which windows are alike, and how many there have to be: of the week, of the day.
PERIODS = ((168.0, 4), (24.0, 5))
LATELY = 24  # windows of late, where there are fewer of that hour


def volumes(history: Windows, number: int, hours: float) -> list[list[float]]:
    """Rows of earlier windows in groups that are alike, the first of which is like this one: of the
    same hour of the week, else of the same hour of the day, else the last ones together."""
    before = [one for one in history if one["number"] < number]
    for period, enough in PERIODS:
        every = round(period / hours)
        if every < 1 or not math.isclose(every * hours, period):
            continue
        groups: dict[int, list[float]] = {}
        for one in before:
            groups.setdefault((number - one["number"]) % every, []).append(float(one["rows"]))
        if len(groups.get(0, [])) >= enough:
            return [groups.pop(0), *groups.values()]
    return [[float(one["rows"]) for one in before[-LATELY:]]]


def latencies(history: Windows, number: int) -> list[float]:
    """95th percentiles of the windows before."""
    told = [one["p95"] for one in history if one["number"] < number and one.get("p95") is not None]
    return [float(one) for one in told[-LATELY:]]


def joined(history: Windows, now: Mapping[int, Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """History with the windows of this look in it, numbers rising."""
    found = {int(one["number"]): one for one in history} | dict(now)
    return [found[number] for number in sorted(found)]
