"""Which language a text is in, as far as that can be told."""

import importlib
from collections.abc import Sequence
from functools import cache
from typing import Any

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor

UNSURE = "unsure"
READ = 400  # characters
SHORTEST = 12  # characters: of less, hardly anything can be told
SURE = 0.8


@DESCRIPTORS.register
class Language(Descriptor):
    key = "language"
    label = "Language"
    summary = (
        "A guess from groups of letters, as a code of ISO 639; `unsure` where it is not likelier "
        "than 0.8, as of many short texts, and where there is no language."
    )
    paper = "Lui, Baldwin: langid.py, ACL 2012 (py3langid; docs/decisions/0032-languages.md)"
    reads = "text"
    kind = "categories"

    def of(self, rows: Sequence[str], tokenizer: Any = None) -> list[str | None]:
        found: list[str | None] = []
        known: dict[str, str] = {}
        for text in rows:
            text = text[:READ].strip()
            if not text:
                found.append(None)
                continue
            if text not in known:
                known[text] = _guessed(text)
            found.append(known[text])
        return found


def _guessed(text: str) -> str:
    if sum(map(str.isalpha, text)) < SHORTEST:
        return UNSURE
    language, probability = _identifier().classify(text)
    return str(language) if probability >= SURE and language != "zxx" else UNSURE


@cache
def _identifier() -> Any:
    """75 MB that take most of a second to read, once in a process."""
    langid = importlib.import_module("py3langid.langid")  # only where there are texts
    return langid.LanguageIdentifier.from_model_file(langid.MODEL_FILE, norm_probs=True)
