"""How much of a sound is silence."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor
from training.engine.descriptors.loudness import decibels
from training.engine.descriptors.reading import Wave

SILENT = -50.0  # dB of full scale
FRAME = 0.02  # seconds


@DESCRIPTORS.register
class SilenceShare(Descriptor):
    key = "silence_share"
    label = "Share of silence"
    summary = (
        f"The share of a sound's frames of {1000 * FRAME:.0f} ms that are quieter than {SILENT:.0f}"
        " dB of full scale."
    )
    reads = "audio"
    unit = "share"

    def of(self, rows: Sequence[Wave], tokenizer: Any = None) -> list[float]:
        found = []
        for one in rows:
            many = max(1, int(FRAME * one.rate))
            frames = max(1, len(one.samples) // many)
            cut = one.samples[: frames * many].reshape(frames, -1)
            loud = decibels(np.sqrt(np.square(cut).mean(axis=1)))
            found.append(float((loud < SILENT).mean()))
        return found
