"""Texts as vectors without any model: latent semantic analysis of hashed words and parts of words.

A text's features are its words and their groups of 3 and 4 letters, `<` and `>` standing for the
ends of a word (Bojanowski et al., Enriching Word Vectors with Subword Information, TACL 2017,
section 3.2), hashed (Weinberger et al., Feature Hashing, ICML 2009). They are weighed by how often
they stand there and how rarely elsewhere (Salton, Buckley 1988: 1 + ln tf, ln((1 + n) / (1 + df))
+ 1), and brought to a few directions (Deerwester et al., Indexing by Latent Semantic Analysis,
1990).

Without torch, so that a web process can tell where typed words belong.
"""

import re
import zlib
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Floats = NDArray[np.float32]

BUCKETS = 1 << 15
LETTERS = (3, 4)
MOST_CHARACTERS = 10_000  # of a text that are looked at
MOST_KNOWN = 200_000  # words whose features are remembered
LONGEST_WORD = 64  # letters: what is longer is no word, but an address or a number

_WORD = re.compile(r"\w+")


class Cutter:
    """Texts as features. Remembers the words it has met."""

    def __init__(self) -> None:
        self._known: dict[str, list[int]] = {}

    def features(self, texts: Iterable[str]) -> Any:
        """`[texts, BUCKETS]`, sparse, float32: 1 + ln of how often each stands in a text."""
        met, ends = array("i"), array("q", [0])
        for text in texts:
            for word in _WORD.findall(text[:MOST_CHARACTERS].lower()):
                met.extend(self._of(word))
            ends.append(len(met))
        places = np.frombuffer(met, dtype=np.int32)
        shape = (len(ends) - 1, BUCKETS)
        ones = np.ones(len(places), dtype=np.float32)
        found = sparse.csr_matrix((ones, places, np.frombuffer(ends, dtype=np.int64)), shape)
        found.sum_duplicates()
        found.data = 1 + np.log(found.data)
        return found

    def _of(self, word: str) -> list[int]:
        known = self._known.get(word)
        if known is None:
            framed = f"<{word[:LONGEST_WORD]}>"
            parts = [word]
            parts += [
                framed[at : at + many] for many in LETTERS for at in range(len(framed) - many + 1)
            ]
            known = [zlib.crc32(part.encode("utf-8", "replace")) % BUCKETS for part in parts]
            if len(self._known) < MOST_KNOWN:
                self._known[word] = known
        return known


def rarity(features: Any) -> Floats:
    """`[BUCKETS]`: how much each feature of these texts says."""
    texts = features.shape[0]
    stands_in = np.bincount(features.indices, minlength=BUCKETS)
    found: Floats = (np.log((1 + texts) / (1 + stands_in)) + 1).astype(np.float32)
    return found


def weighed(features: Any, rarities: Floats) -> Any:
    """Features times what they say; each text of length 1."""
    found = features @ sparse.diags(rarities)
    lengths = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    return (sparse.diags(1 / np.maximum(lengths, 1e-9)) @ found).tocsr().astype(np.float32)


@dataclass(frozen=True, slots=True)
class Directions:
    """What texts are brought to: `into` `[BUCKETS, width]`, the weights of features included."""

    into: NDArray[np.float16]

    def vectors(self, texts: Sequence[str], cutter: Cutter | None = None) -> Floats:
        """`[texts, width]`, of length 1; of a text without a known word, 0."""
        return self.of_features((cutter or Cutter()).features(texts))

    def of_features(self, features: Any) -> Floats:
        used, places = np.unique(features.indices, return_inverse=True)
        few = sparse.csr_matrix(
            (features.data, places, features.indptr), (features.shape[0], len(used))
        )
        found: Floats = few @ self.into[used].astype(np.float32)
        return unit(found)

    def save(self, path: Path) -> None:
        np.save(path, self.into)


def unit(vectors: Floats) -> Floats:
    """Each of length 1, and 0 where it is 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, 1e-9)  # type: ignore[no-any-return]
