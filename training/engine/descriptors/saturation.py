"""How colourful a picture is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor
from training.engine.descriptors.reading import Picture

SHARES = np.concatenate([[0], 1 / np.arange(1, 256)]).astype(np.float32)  # of one part of a byte


@DESCRIPTORS.register
class Saturation(Descriptor):
    key = "saturation"
    label = "Saturation"
    summary = "How far colours are from grey: the mean saturation of HSV, 0 of a grey picture."
    formula = "mean of (max − min) / max over red, green and blue"
    paper = "Smith: Color gamut transform pairs, SIGGRAPH 1978"
    reads = "image"
    unit = "of 1"

    def of(self, rows: Sequence[Picture], tokenizer: Any = None) -> list[float]:
        return [_mean(one.colours) for one in rows]


def _mean(colours: Any) -> float:
    red, green, blue = colours
    most = np.maximum(np.maximum(red, green), blue)
    apart = most - np.minimum(np.minimum(red, green), blue)
    return float((SHARES[most] * apart).mean())
