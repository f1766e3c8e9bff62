"""How far light and dark of a picture are apart."""

from collections.abc import Sequence
from typing import Any

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor
from training.engine.descriptors.reading import Picture


@DESCRIPTORS.register
class Contrast(Descriptor):
    key = "contrast"
    label = "Contrast"
    summary = "The standard deviation of a picture in grey, from 0 to 0.5."
    paper = "Peli: Contrast in complex images, J. Opt. Soc. Am. A, 1990 (RMS contrast)"
    reads = "image"
    unit = "of 1"

    def of(self, rows: Sequence[Picture], tokenizer: Any = None) -> list[float]:
        return [float(one.grey.std()) for one in rows]
