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

from collections.abc import Mapping

#: Keys of detectors by kind of signal, the one that alerts first.
DETECTORS: Mapping[str, tuple[str, ...]] = {
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
