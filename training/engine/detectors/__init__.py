"""Detectors of drift: one file each, found by itself. `detector.py` says what one must do."""

from training.engine.detectors.detector import (
    DETECTORS,
    WATCHED,
    Detector,
    Score,
    StreamDetector,
    WindowDetector,
)

__all__ = ["DETECTORS", "WATCHED", "Detector", "Score", "StreamDetector", "WindowDetector"]
