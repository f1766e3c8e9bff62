"""Kinds of signals, and the detectors of one: a monitor's own for it or for its kind, else those of
defaults.py."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from training.engine import options, sketches
from training.engine.detectors import DETECTORS, Detector
from training.engine.watching import defaults

JSON = dict[str, Any]

#: Signals whose kind is another than what comes before their dot.
OF_BINS = ("input", "described", "vector", "prediction", "answered", "error", "difference")
KINDS = {kind: name for name, kind in sketches.BINS.items()}
STREAMS = ("error_stream", "disagreement_stream")
QUALITY = ("missing", "unseen", "out_of_range", "duplicated")


def kind_of(signal: str, bins: Mapping[str, Any]) -> str:
    """What a signal is, in the words of defaults.py and monitors; of columns and predictions it
    depends on the bins of the reference."""
    stem = signal.partition(".")[0]
    if stem in OF_BINS and signal in bins:
        return KINDS[type(bins[signal])]
    return stem


def detectors_of(
    signal: str, kind: str, asked: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Detector]:
    """Those of a signal, the one that alerts first; none where the monitor wants none."""
    for key in (signal, kind):
        if key in asked:
            return [made(one) for one in asked[key]]
    return [DETECTORS[key]() for key in defaults.DETECTORS.get(kind, ())]


def made(asked: Mapping[str, Any]) -> Detector:
    """`{"kind", ...options}` as a detector. Options of a later version, which this one does not
    know, are left out."""
    found = DETECTORS[str(asked["kind"])]
    known = _names(found.Options)
    return found(found.Options(**{name: asked[name] for name in asked if name in known}))


@functools.cache
def _names(options_of: type) -> frozenset[str]:
    return frozenset(one["name"] for one in options.describe(options_of))
