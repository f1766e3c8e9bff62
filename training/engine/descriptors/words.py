"""How many words a text has."""

import re
from collections.abc import Sequence
from typing import Any

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor

WORD = re.compile(r"\w+")


@DESCRIPTORS.register
class Words(Descriptor):
    key = "words"
    label = "Words"
    summary = (
        "Runs of letters and digits. Of scripts that part no words with blanks, such as Chinese, "
        "runs between two signs."
    )
    reads = "text"
    unit = "words"

    def of(self, rows: Sequence[str], tokenizer: Any = None) -> list[float]:
        return [float(len(WORD.findall(text))) for text in rows]
