"""How much of a text is no writing."""

import re
from collections.abc import Sequence
from typing import Any

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor

LETTERS = re.compile(r"[^\W\d_]+")


@DESCRIPTORS.register
class NonLetters(Descriptor):
    key = "non_letters"
    label = "Share of non-letters"
    summary = (
        "Digits, signs and pictures among all characters that are no blanks: it rises where code, "
        "numbers, links or broken encodings come."
    )
    formula = "1 − letters / characters without blanks"
    reads = "text"
    unit = "share"

    def of(self, rows: Sequence[str], tokenizer: Any = None) -> list[float | None]:
        found: list[float | None] = []
        for text in rows:
            written = len("".join(text.split()))
            letters = sum(map(len, LETTERS.findall(text)))
            found.append(1 - letters / written if written else None)
        return found
