"""How often a monitor's detectors find drift where there is none: measured on its own reference."""

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from training.engine.detectors import splits
from training.engine.watching import signals
from training.engine.watching.baseline import Baseline
from training.engine.watching.counting import View

JSON = dict[str, Any]

LEVEL = 0.05  # at which a rate can be counted in a hundred windows; alerts ask for much less
WINDOWS = 100
MOST_ROWS = 5000  # of the reference that are dealt out
PATIENCE = 60.0  # seconds; signals whose turn has not come by then are not measured
USUAL = 50  # rows of a window of hours, unless more are the least that speak
SMALLEST = 20  # rows of a window that is worth measuring


def measured(view: View, baseline: Baseline, monitor: Mapping[str, Any]) -> JSON:
    """`{signal: {detector: {"level", "windows", "rate", "interval", "limit"}}}` of windows without
    drift, of detectors that compare a window with its reference; nothing where no window of
    SMALLEST rows can be cut out."""
    size = _size(monitor, len(view))
    if size < SMALLEST:
        return {}
    until = time.monotonic() + PATIENCE
    found: JSON = {}
    told: dict[str, tuple[str, Any]] = {
        name: (kind, values) for name, (kind, values) in view.signals().items()
    }
    # What is dealt out are probabilities of classes, and not of labels that hold by themselves.
    if (
        view.probabilities is not None
        and "confidence.top" in baseline.bins
        and not baseline.several  # nor of words
    ):
        told["confidence"] = ("numbers", view.probabilities)
    for signal, (kind, values) in told.items():
        if signal != "confidence" and signal not in baseline.bins:
            continue
        kind_of = signals.kind_of(signal, baseline.bins)
        for detector in signals.detectors_of(signal, kind_of, monitor.get("detectors") or {}):
            if time.monotonic() > until or not {"sketches", "rows", "confidences"} & {
                *detector.takes
            }:
                continue
            one = splits.false_alarms(
                detector,  # type: ignore[arg-type]
                kind,
                _known(values, kind),
                size,
                level=LEVEL,
                windows=WINDOWS,
            )
            if one.windows:
                said = one.as_dict()
                kept = ("level", "windows", "rate", "interval", "limit")
                found.setdefault(signal, {})[detector.key] = {name: said[name] for name in kept}
    return found


def _size(monitor: Mapping[str, Any], rows: int) -> int:
    """Rows of a window, as far as the reference has enough for one."""
    least = max(USUAL, int(monitor.get("minimum_rows") or 0))
    wanted = int(monitor.get("window_rows") or 0) or least
    return max(1, min(wanted, min(rows, MOST_ROWS) // 4))


def _known(values: Any, kind: str) -> Any:
    """The first rows, evenly spread, as an array that can be dealt out."""
    if isinstance(values, np.ndarray):
        array = values
    else:
        array = np.empty(len(values), dtype=object)
        array[:] = list(values)
    if len(array) > MOST_ROWS:
        array = array[np.linspace(0, len(array) - 1, MOST_ROWS).astype(np.int64)]
    if array.ndim == 2:
        array = array[np.isfinite(array).all(axis=1)]
    return array
