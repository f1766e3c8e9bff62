"""What is watched of each kind of signal unless a monitor says otherwise, and why.

numbers               PSI with a limit that knows the sizes, and Mann-Whitney, which sees a shift of
                      a quarter of a deviation in half the rows
categories            chi-square with Cramér's V: a rare new level is no alarm by itself
embeddings            PCA with Kolmogorov-Smirnov and MMD: each finds what the other hardly sees
confidence            Kolmogorov-Smirnov of entropy and top: finds foreign texts as no vector does
agreement, accuracy   Fisher's exact test against the reference: right for few answers, too
span F1               the same, of spans of words with one tag
calibration           of bins of confidence
estimated accuracy    CBPE: needs no label, and says how far to believe it
streams               ADWIN: finds every doubling of errors, and hardly rings for nothing
quality               Fisher's exact test of the worst column, raised for all of them
volume, latency       earlier windows of the same hour: traffic has days and weeks

A monitor's `detectors` say otherwise for a kind or for one signal, which stands before its kind.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from training.engine import options, sketches
from training.engine.detectors import DETECTORS, Detector

JSON = dict[str, Any]

DEFAULTS: Mapping[str, tuple[str, ...]] = {
    "numbers": ("psi", "mann_whitney"),
    "categories": ("chi_square",),
    "embeddings": ("pca_ks", "mmd_features"),
    "confidence": ("confidence",),
    "agreement": ("agreement",),
    "accuracy": ("accuracy",),
    "span_f1": ("accuracy",),
    "calibration": ("calibration",),
    "estimated_accuracy": ("estimated_accuracy",),
    "error_stream": ("adwin",),
    "disagreement_stream": ("adwin",),
    "whose_fault": ("whose_fault",),
    "quality": ("quality",),
    "volume": ("volume",),
    "latency": ("latency",),
}
#: Signals whose kind is another than what comes before their dot.
OF_BINS = ("input", "described", "vector", "prediction", "answered", "error", "difference")
KINDS = {kind: name for name, kind in sketches.BINS.items()}
STREAMS = ("error_stream", "disagreement_stream")
QUALITY = ("missing", "unseen", "out_of_range", "duplicated")


def kind_of(signal: str, bins: Mapping[str, Any]) -> str:
    """What a signal is, as DEFAULTS and monitors call it; of columns and predictions it depends on
    the bins of the reference."""
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
    return [DETECTORS[key]() for key in DEFAULTS.get(kind, ())]


def made(asked: Mapping[str, Any]) -> Detector:
    """`{"kind", ...options}` as a detector. Options of a later version, which this one does not
    know, are left out."""
    found = DETECTORS[str(asked["kind"])]
    known = _names(found.Options)
    return found(found.Options(**{name: asked[name] for name in asked if name in known}))


@functools.cache
def _names(options_of: type) -> frozenset[str]:
    return frozenset(one["name"] for one in options.describe(options_of))
