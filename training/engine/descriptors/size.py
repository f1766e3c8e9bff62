"""How large a picture is."""

from collections.abc import Sequence
from typing import Any

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor
from training.engine.descriptors.reading import Picture


@DESCRIPTORS.register
class Size(Descriptor):
    key = "size"
    label = "Size"
    summary = "Width times height of the picture as it came."
    reads = "image"
    unit = "pixels"

    def of(self, rows: Sequence[Picture], tokenizer: Any = None) -> list[float]:
        return [float(one.width * one.height) for one in rows]
