"""How loud a sound is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor
from training.engine.descriptors.reading import Wave

QUIETEST = 1e-5  # of full scale: -100 dB


def decibels(amplitude: Any) -> Any:
    """Of full scale, never below -100."""
    return 20 * np.log10(np.maximum(amplitude, QUIETEST))


@DESCRIPTORS.register
class Loudness(Descriptor):
    key = "loudness"
    label = "Loudness"
    summary = (
        "The root mean square of a sound's first minute against full scale: about -20 of speech "
        "that was recorded well, -100 of silence. Ears weigh pitches; this does not."
    )
    formula = "20 log₁₀ √(mean of squares)"
    reads = "audio"
    unit = "dB"

    def of(self, rows: Sequence[Wave], tokenizer: Any = None) -> list[float]:
        return [float(decibels(np.sqrt(np.square(one.samples).mean()))) for one in rows]
