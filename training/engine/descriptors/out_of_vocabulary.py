"""How much of a text the student's tokenizer has no word for."""

from collections.abc import Sequence
from typing import Any

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor


@DESCRIPTORS.register
class OutOfVocabulary(Descriptor):
    key = "out_of_vocabulary"
    label = "Share of words out of the vocabulary"
    summary = (
        "Words that the student's tokenizer does not hold whole: it takes them for unknown, or "
        "cuts them into pieces. Words are what the tokenizer takes for such, as far as it reads."
    )
    formula = "words of an unknown token, or of several tokens / words"
    reads = "text"
    unit = "share"
    needs_tokenizer = True

    def of(self, rows: Sequence[str], tokenizer: Any = None) -> list[float | None]:
        if tokenizer is None:
            return [None] * len(rows)
        name = getattr(tokenizer.model, "unk_token", None)
        unknown = -1 if name is None else tokenizer.token_to_id(name)
        encoded = tokenizer.encode_batch(list(rows), add_special_tokens=False)
        return [_share(one.word_ids, one.ids, unknown) for one in encoded]


def _share(words: Sequence[int | None], ids: Sequence[int], unknown: int | None) -> float | None:
    tokens: dict[int, int] = {}
    strange: set[int] = set()
    for word, token in zip(words, ids, strict=True):
        if word is None:
            continue
        tokens[word] = tokens.get(word, 0) + 1
        if token == unknown or tokens[word] > 1:
            strange.add(word)
    return len(strange) / len(tokens) if tokens else None
