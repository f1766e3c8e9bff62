"""How high a sound is, and how sharp it sounds."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor
from training.engine.descriptors.reading import Wave

FRAME = 0.032  # seconds
AUDIBLE = 1e-10  # power of a frame's mean square, below which it says nothing


@DESCRIPTORS.register
class SpectralCentroid(Descriptor):
    key = "spectral_centroid"
    label = "Spectral centroid"
    summary = (
        "Where the middle of a sound's spectrum lies: it falls where a microphone or a codec cuts "
        "off what is high, and rises with hiss. Louder frames count more."
    )
    formula = "Σ frequency · power / Σ power, over Hann frames of 32 ms"
    paper = "Peeters: A large set of audio features for sound description, IRCAM 2004, 6.1.1"
    reads = "audio"
    unit = "Hz"

    def of(self, rows: Sequence[Wave], tokenizer: Any = None) -> list[float | None]:
        return [_centroid(one) for one in rows]


def _centroid(one: Wave) -> float | None:
    many = max(2, int(FRAME * one.rate))
    short = -len(one.samples) % many
    cut = np.pad(one.samples, (0, short)).reshape(-1, many)
    cut = cut[np.square(cut).mean(axis=1) > AUDIBLE]
    if not len(cut):
        return None
    power = np.square(np.abs(np.fft.rfft(cut * np.hanning(many), axis=1))).sum(axis=0)
    total = float(power.sum())
    if not total > 0:
        return None
    return float((np.fft.rfftfreq(many, 1 / one.rate) * power).sum() / total)
