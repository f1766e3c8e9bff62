"""As many points of a trace as a screen can show, and none that is not a number."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

MOST_DRAWN = 4000  # points of one trace; a screen has no more columns


def drawable(trace: Mapping[str, Any]) -> dict[str, Any]:
    """The trace with breaks where values are not finite, and thinned where it is longer than
    MOST_DRAWN; `meta["of"]` then says how many points it has."""
    clean = _clean(trace)
    count = max((_length(trace.get(name)) for name in ("x", "y")), default=0)
    if trace.get("type", "scatter") != "scatter" or count <= MOST_DRAWN:
        return clean
    is_line = "lines" in str(trace.get("mode", "lines"))
    values = clean.get("y")
    if is_line and isinstance(values, list | tuple):
        places = extremes(values, MOST_DRAWN)
    else:
        places = [round(at * (count - 1) / (MOST_DRAWN - 1)) for at in range(MOST_DRAWN)]
    return _picked(clean, places, count) | {"meta": {**trace.get("meta", {}), "of": count}}


def extremes(values: Sequence[Any], most: int) -> list[int]:
    """Places of the first value, the last, and of every stretch in between the least, the greatest
    and the first break: neither a spike nor a gap can vanish."""
    last = len(values) - 1
    width = max(1, -(-(last - 1) // max(1, (most - 2) // 3)))
    kept = {0, last}
    for start in range(1, last, width):
        stretch = range(start, min(start + width, last))
        known = [at for at in stretch if isinstance(values[at], int | float)]
        if known:
            kept |= {min(known, key=values.__getitem__), max(known, key=values.__getitem__)}
        if len(known) < len(stretch):
            kept.add(next(at for at in stretch if not isinstance(values[at], int | float)))
    return sorted(kept)


def _clean(part: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers of error bars and of what hovering tells, too: one that is none would end the JSON of
    the whole page."""
    made: dict[str, Any] = {}
    for name, value in part.items():
        if isinstance(value, Mapping):
            made[name] = _clean(value)
        else:
            made[name] = _finite(value) if isinstance(value, list | tuple) else value
    return made


def _finite(values: Sequence[Any]) -> Sequence[Any]:
    if values and isinstance(values[0], list | tuple):
        return [_finite(row) if isinstance(row, list | tuple) else row for row in values]
    if all(type(one) is not float or math.isfinite(one) for one in values):
        return values
    return [None if type(one) is float and not math.isfinite(one) else one for one in values]


def _length(values: Any) -> int:
    return len(values) if isinstance(values, list | tuple) else 0


def _picked(part: Mapping[str, Any], places: Sequence[int], count: int) -> dict[str, Any]:
    """The part with every list that has one entry a point shortened to those at `places`."""
    made: dict[str, Any] = {}
    for name, value in part.items():
        if isinstance(value, Mapping):
            made[name] = _picked(value, places, count)
        else:
            made[name] = [value[at] for at in places] if _length(value) == count else value
    return made
