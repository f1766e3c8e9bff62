"""How near texts are to each other: ROUGE-L, as Self-Instruct (Wang et al., 2212.10560, section
2.2) keeps made texts apart from those that are there.

ROUGE-L is the F-measure of the longest common subsequence of words (Lin: ROUGE, 2004, equation 4
with β = 1). It is at most what common words alone would make it, so that an index of words finds
every text that may be near, and only those are compared word by word.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter

from distillhub.lib.later import np

#: A word, or a sign of a script that writes no blanks.
WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W぀-ヿ㐀-鿿가-힯]+")
MOST_WORDS = 400  # of a text that are compared; the rest is taken to be like them


class Texts:
    """Texts that others are held against; about 8 bytes a word."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}  # of words
        self._words: list[array[int]] = []  # of each text
        self._where: list[array[int]] = []  # the texts that each word stands in
        self._lengths = array("i")
        self._kinds: list[str] = []

    def __len__(self) -> int:
        return len(self._words)

    def add(self, text: str, kind: str) -> None:
        """`kind` is what `near` answers for a text that is near to this one."""
        numbers = array("i")
        for word in words(text):
            number = self._numbers.setdefault(word, len(self._numbers))
            if number == len(self._where):
                self._where.append(array("i"))
            numbers.append(number)
        for number in set(numbers):
            self._where[number].append(len(self._words))
        self._words.append(numbers)
        self._lengths.append(len(numbers))
        self._kinds.append(kind)

    def near(self, text: str, threshold: float) -> dict[str, float]:
        """{kind: the highest ROUGE-L of its texts}, of those that reach the threshold."""
        said = words(text)
        known = [self._numbers.get(word, -1) for word in said]
        counts = Counter(number for number in known if number >= 0)
        if not counts or not len(self):
            return {}
        common = np.zeros(len(self), dtype=np.int64)
        for number, times in counts.items():
            common[np.frombuffer(self._where[number], dtype=np.int32)] += times
        lengths = np.frombuffer(self._lengths, dtype=np.int32)
        most = 2 * np.minimum(common, lengths) / (len(said) + lengths)
        found: dict[str, float] = {}
        for place in np.flatnonzero((most >= threshold) & (common > 0)).tolist():
            kind = self._kinds[place]
            if most[place] <= found.get(kind, 0.0):
                continue
            score = _rouge(known, self._words[place])
            if score >= threshold:
                found[kind] = max(score, found.get(kind, 0.0))
        return found


def words(text: str) -> list[str]:
    return WORD.findall(text.lower())[:MOST_WORDS]


def rouge_l(one: str, other: str) -> float:
    """From 0 (nothing in common) to 1 (the same words in the same order)."""
    numbers: dict[str, int] = {}
    first, second = (
        [numbers.setdefault(word, len(numbers)) for word in words(text)] for text in (one, other)
    )
    return _rouge(first, array("i", second))


def _rouge(one: list[int], other: array[int]) -> float:
    if not one or not other:
        return 0.0
    row = [0] * (len(other) + 1)
    for number in one:
        before = 0  # of the row above, one to the left
        for place, its in enumerate(other, 1):
            above = row[place]
            row[place] = before + 1 if its == number else max(above, row[place - 1])
            before = above
    return 2 * row[-1] / (len(one) + len(other))
