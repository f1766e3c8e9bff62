"""How bright a picture is."""

from collections.abc import Sequence
from typing import Any

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor
from training.engine.descriptors.reading import Picture


@DESCRIPTORS.register
class Brightness(Descriptor):
    key = "brightness"
    label = "Brightness"
    summary = "The mean of a picture in grey: 0 is black, 1 is white."
    reads = "image"
    unit = "of 1"

    def of(self, rows: Sequence[Picture], tokenizer: Any = None) -> list[float]:
        return [float(one.grey.mean()) for one in rows]
