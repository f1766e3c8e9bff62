"""Reading points that a program sends: by hand, for a thousand of them are read in milliseconds.

    {"points": [{"name": "train/loss", "step": 10, "value": 0.31, "time": "2026-11-27T04:05:06Z"}]}
    {"series": {"train/loss": {"steps": [10, 20], "values": [0.31, 0.29], "times": [...]}}}

The second is what `GET metrics/` answers. Values that are not finite are the words NaN, Infinity
and -Infinity; a time is ISO 8601 or seconds since the epoch, and now where it is left out.
"""

import math
import re
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from distillhub.lib.errors import Invalid
from training.worker.metrics import LONGEST_NAME, Measured

MOST_POINTS = 10_000  # in one request
FURTHEST = 2**53  # a step that JavaScript can count to
LATEST = 253_402_300_799.0  # seconds: the year 9999
WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
NAME = re.compile(r"[A-Za-z0-9_./ :-]{1,250}", re.ASCII)
POINT = {"name", "step", "value", "time"}
SERIES = {"steps", "values", "times", "count", "thinned"}
KEYS = ("points", "series")


def read(body: Any) -> list[Measured]:
    """Raises Invalid, naming the first place that cannot be read."""
    if not isinstance(body, Mapping) or not body or set(body) - set(KEYS):
        raise _wrong("points", 'Send {"points": [...]} or {"series": {...}}.')
    now = time.time()
    names: dict[str, str] = {}
    return [*_points(body.get("points", []), now, names), *_series(body, now, names)]


def _points(points: Any, now: float, names: dict[str, str]) -> Iterator[Measured]:
    if not isinstance(points, list) or len(points) > MOST_POINTS:
        raise _wrong("points", f"It must be a list of at most {MOST_POINTS:,} points.")
    for place, point in enumerate(points):
        try:
            name, value = point["name"], point["value"]
            step, moment = point.get("step", 0), point.get("time", now)
        except (KeyError, TypeError, AttributeError):
            raise _wrong(f"points.{place}", "A point has a name, a step and a value.") from None
        if len(point) > 4 or (len(point) < 4 and not POINT.issuperset(point)):
            raise _wrong(f"points.{place}", f"A point has only {', '.join(sorted(POINT))}.")
        if type(value) is not float:
            value = _value(value, f"points.{place}.value")
        if type(step) is not int or not 0 <= step <= FURTHEST:
            raise _wrong(f"points.{place}.step", "It must be a whole number of at least 0.")
        if type(name) is not str or name not in names:
            names[name] = _name(name, f"points.{place}.name")
        if moment is not now:
            moment = _time(moment, f"points.{place}.time")
        yield Measured(name, step, value, moment)


def _series(body: Mapping[str, Any], now: float, names: dict[str, str]) -> Iterator[Measured]:
    series = body.get("series", {})
    if not isinstance(series, Mapping):
        raise _wrong("series", "It must be an object: the points of each series by its name.")
    count = len(body.get("points", []))
    for name, one in series.items():
        at = f"series.{name[:80]}"
        _name(name, at)
        if not isinstance(one, Mapping) or set(one) - SERIES:
            raise _wrong(at, 'It must be {"steps": [...], "values": [...], "times": [...]}.')
        steps, values, times = (one.get(key) for key in ("steps", "values", "times"))
        if not isinstance(steps, list) or not isinstance(values, list):
            raise _wrong(at, "Steps and values must be lists.")
        if times is not None and not isinstance(times, list):
            raise _wrong(f"{at}.times", "It must be a list.")
        if len({len(part) for part in (steps, values, times) if part is not None}) > 1:
            raise _wrong(at, "Steps, values and times must be as many.")
        count += len(steps)
        if count > MOST_POINTS:
            raise _wrong(at, f"Send at most {MOST_POINTS:,} points at once.")
        for place, (step, value) in enumerate(zip(steps, values, strict=True)):
            if type(step) is not int or not 0 <= step <= FURTHEST:
                raise _wrong(f"{at}.steps.{place}", "It must be a whole number of at least 0.")
            if type(value) is not float:
                value = _value(value, f"{at}.values.{place}")
            moment = now if times is None else _time(times[place], f"{at}.times.{place}")
            yield Measured(name, step, value, moment)


def _name(name: Any, at: str) -> str:
    if not isinstance(name, str) or not NAME.fullmatch(name) or name != name.strip():
        raise _wrong(
            at,
            f"A metric's name has 1 to {LONGEST_NAME} characters: ASCII letters, digits, inner "
            "spaces and _ . / : -",
        )
    return name


def _value(value: Any, at: str) -> float:
    if type(value) in (int, float):  # of at most 300 digits, as REST reads them
        return float(value)
    if isinstance(value, str) and value in WORDS:
        return WORDS[value]
    raise _wrong(at, "It must be a number, or NaN, Infinity or -Infinity as a word.")


def _time(moment: Any, at: str) -> float:
    """Seconds since the epoch."""
    if type(moment) in (int, float) and 0 <= moment <= LATEST:
        return float(moment)
    if isinstance(moment, str):
        try:
            read = datetime.fromisoformat(moment)
            seconds = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            seconds = -1.0
        if 0 <= seconds <= LATEST:
            return seconds
    raise _wrong(at, "It must be a time in ISO 8601, or seconds since the epoch.")


def _wrong(at: str, sentence: str) -> Invalid:
    return Invalid(f"{at}: {sentence}", fields={at: [sentence]})
