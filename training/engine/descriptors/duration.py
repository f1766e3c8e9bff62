"""How long a sound is."""

from collections.abc import Sequence
from typing import Any

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor
from training.engine.descriptors.reading import Wave


@DESCRIPTORS.register
class Duration(Descriptor):
    key = "duration"
    label = "Duration"
    summary = "Seconds from a sound's first sample to its last."
    reads = "audio"
    unit = "seconds"

    def of(self, rows: Sequence[Wave], tokenizer: Any = None) -> list[float]:
        return [one.seconds for one in rows]
