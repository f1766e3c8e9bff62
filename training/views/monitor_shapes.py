"""A signal beside its reference: how its values spread in a window, or in all of a stretch."""

from typing import Any

from training.charts import drift_shapes
from training.models import Monitor
from training.services import signals, window_shapes
from training.views.monitor_parts import Stretch

JSON = dict[str, Any]


def of(monitor: Monitor, found: Stretch, key: str, number: int | None) -> JSON | None:
    """Of the window of that number, else of all windows of the stretch together."""
    there = [one.number for one in found.windows]
    shape = window_shapes.of(monitor, key, there if number is None else [number])
    if shape is None:
        return None
    if shape.kind == "numbers":
        figure = drift_shapes.numbers(shape.edges, shape.before, shape.now, name=signals.words(key))
        height = 260
    else:
        figure = drift_shapes.categories(shape.names, shape.before, shape.now)
        height = 90 + 26 * min(20, len(shape.names))
    return {
        "figure": figure,
        "height": height,
        "shape": shape,
        "number": number,
        "left": len(there) - window_shapes.MOST_MERGED if number is None else 0,
        "choices": there[-200:][::-1],
    }
