"""How long a text is."""

from collections.abc import Sequence
from typing import Any

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor


@DESCRIPTORS.register
class Length(Descriptor):
    key = "length"
    label = "Length"
    summary = "Characters of a text, blanks included."
    reads = "text"
    unit = "characters"

    def of(self, rows: Sequence[str], tokenizer: Any = None) -> list[float]:
        return [float(len(text)) for text in rows]
