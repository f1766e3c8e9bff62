"""Rows that nearly stand elsewhere: texts by their pairs of words, pictures by what they show.

Texts are near from a Jaccard similarity of 0.8 of their sets of word pairs (shingles: Broder, On
the Resemblance and Containment of Documents, 1997; the threshold of Lee et al., Deduplicating
Training Data Makes Language Models Better, 2022). Candidates come from MinHash bands (Leskovec,
Rajaraman, Ullman: Mining of Massive Datasets, section 3.4): 16 of 5 hashes find a pair of that
similarity in 99.8 of 100 cases. Each is then compared exactly, so that what is reported is near.

Pictures are near where their difference hashes (dHash of 64 bits: Krawetz 2013) differ in at most
6 bits, and their grey pictures of 16 by 16 by at most 1.5 per cent of the range on average.
Candidates are neighbours in four orders, each begun with another quarter of the hash (Manku, Jain,
Das Sarma: Detecting Near-Duplicates for Web Crawling, 2007).

What a row is compared by is kept in files that are gone afterwards: 128 bytes for the bands, and 8
for each pair of words.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from abc import ABC, abstractmethod
from array import array
from collections.abc import Iterator
from typing import IO, Any, TypeAlias

from distillhub.lib.later import np
from projects.ingest import equal_keys, thumbnails

Rows: TypeAlias = "np.ndarray[Any, Any]"

NEAR = 0.8  # Jaccard similarity of texts
BANDS, BAND = 16, 5
MOST_WORDS = 20_000  # of a text, from its beginning
MOST_PAIRS = 4_000_000  # that are compared
BATCH_WORDS = 100_000
BATCH_PAIRS = 50_000  # of pictures
BATCH_COMPARED = 500_000  # word pairs of both sides: 4 MB, some five times over
MOST_IN_ALL = 12_000_000  # words; what comes later is compared with nothing
CACHED_WORDS = 200_000
WIDE = 20  # characters a word: with more, a text is one of a script without blanks
HASH = (1 << 40) - 1

BITS = 6  # of 64 that differ
DIFFERENCE = 0.015  # of the range, on average: a JPEG of quality 30, or another size, has half
NEIGHBOURS = 6  # in each order

_WORD = re.compile(r"\w+")


class Nearness(ABC):
    """`add` meets every row once, in order."""

    @abstractmethod
    def add(self, given: Any) -> None: ...

    @abstractmethod
    def groups(self, keys: Rows) -> Rows:
        """`[rows]`: the first row of each row's group, of those that are near each other, maybe
        through others. `keys` [rows]: equal for inputs that mean the same."""

    def close(self) -> None:  # noqa: B027
        """Its files go."""


def of(column: str) -> Nearness | None:
    """For rows whose input is `column`: text, image; None for what is not compared."""
    return {"text": Texts, "image": Pictures}[column]() if column in ("text", "image") else None


class _Codes(dict[str, int]):
    """The hash of each word, made when it is first met."""

    def __missing__(self, word: str) -> int:
        digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        code = self[word] = int.from_bytes(digest, "little")
        return code


class Texts(Nearness):
    def __init__(self) -> None:
        self._known = _Codes()
        self._words = array("Q")
        self._lengths = array("q")  # words of each row of this batch
        self._sizes = array("i")  # pairs of words of each row
        self._blocks = array("i")  # rows of each batch that have pairs
        self._bands: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._pairs: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        rng = np.random.default_rng(0)
        self._odd = rng.integers(0, 1 << 63, BANDS * BAND, dtype=np.uint64) * np.uint64(2) + (
            np.uint64(1)
        )
        self._met = 0  # words
        self.is_complete = True  # whether all candidates were compared

    def add(self, given: str) -> None:
        words = _WORD.findall(given[: MOST_WORDS * WIDE].lower())
        if len(words) * WIDE < len(given):
            words = list("".join(words))
        if self._met > MOST_IN_ALL:
            words, self.is_complete = [], False
        self._words.extend(map(self._known.__getitem__, words[:MOST_WORDS]))
        self._lengths.append(min(len(words), MOST_WORDS))
        self._met += self._lengths[-1]
        if len(self._words) >= BATCH_WORDS:
            self._flush()

    def _flush(self) -> None:
        """Write the pairs of words of the rows met since, and what their bands say."""
        lengths = np.frombuffer(self._lengths, dtype=np.int64)
        words = np.frombuffer(self._words, dtype=np.uint64)
        rows = np.repeat(np.arange(len(lengths)), lengths)
        pairs = _mixed(words)
        if len(words) > 1:
            joined = _mixed(words[:-1] + _mixed(words[1:]))
            same = rows[:-1] == rows[1:]
            # The last word of a row begins no pair; of a row of one word it stands for itself.
            pairs = np.concatenate([joined, pairs[-1:]])
            keep = np.concatenate([same, [False]]) | (lengths[rows] == 1)
            alone = lengths[rows] == 1
            pairs[alone] = _mixed(words[alone])
            pairs, rows = pairs[keep], rows[keep]
        told = np.unique((rows.astype(np.uint64) << np.uint64(40)) | (pairs & np.uint64(HASH)))
        of_row = (told >> np.uint64(40)).astype(np.int64)
        pairs = told & np.uint64(HASH)
        sizes = np.bincount(of_row, minlength=len(lengths)).astype(np.int32)
        self._sizes.extend(sizes.tolist())
        pairs.tofile(self._pairs)
        banded = self._banded(pairs, sizes[sizes > 0])
        self._blocks.append(banded.shape[1])
        self._bands.write(banded.tobytes())
        self._words, self._lengths = array("Q"), array("q")
        if len(self._known) > CACHED_WORDS:
            self._known.clear()

    def _banded(self, pairs: Rows, sizes: Rows) -> Rows:
        """`[BANDS, rows]`: equal where BAND least hashes are; every row has pairs."""
        found = np.zeros((BANDS, len(sizes)), dtype=np.uint64)
        if not len(sizes):
            return found
        starts = np.cumsum(sizes) - sizes
        for place, odd in enumerate(self._odd):
            least = np.minimum.reduceat(_mixed(pairs * odd), starts)
            band = place // BAND
            found[band] = _mixed(found[band] + least)
        return found

    def _band(self, band: int) -> Rows:
        """`[rows that have pairs]`: what one band says of them. A mapped file would count as memory
        of this process, all of it."""
        found = np.empty(sum(self._blocks), dtype=np.uint64)
        done = 0
        for many in self._blocks:
            self._bands.seek((done * BANDS + band * many) * found.itemsize)
            read = self._bands.read(many * found.itemsize)
            found[done : done + many] = np.frombuffer(read, dtype=np.uint64)
            done += many
        return found

    def groups(self, keys: Rows) -> Rows:
        self._flush()
        self._bands.flush()
        self._pairs.flush()
        of_key, first_of_key = equal_keys.grouped(keys)
        sizes = np.frombuffer(self._sizes, dtype=np.int32)
        first = np.sort(first_of_key[sizes[first_of_key] > 0])
        sets = _Sets(len(keys))
        if len(first) > 1:
            places = np.searchsorted(np.flatnonzero(sizes), first)
            starts = np.cumsum(sizes, dtype=np.int64) - sizes
            left = MOST_PAIRS
            for band in range(BANDS):
                one, two = _equal(self._band(band)[places], first)
                apart = sets.roots[one] != sets.roots[two]
                short = np.minimum(sizes[one], sizes[two])
                apart &= short >= NEAR * np.maximum(sizes[one], sizes[two])
                one, two = one[apart], two[apart]
                if len(one) > left:
                    one, two, self.is_complete = one[:left], two[:left], False
                left -= len(one)
                for here in _batches(sizes[one] + sizes[two]):
                    a, b = one[here], two[here]
                    # Mapped anew for each batch: pages that were touched count until it goes.
                    pairs = np.memmap(self._pairs, dtype=np.uint64, mode="r")
                    near = _jaccard(pairs, starts, sizes, a, b) >= NEAR
                    sets.join(a[near], b[near])
        return _of_rows(sets, of_key, first_of_key)

    def close(self) -> None:
        self._bands.close()
        self._pairs.close()


class Pictures(Nearness):
    def __init__(self) -> None:
        self._small: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._hashes = array("Q")

    def add(self, given: bytes) -> None:
        self.add_small(thumbnails.small(given))

    def add_small(self, small: Rows) -> None:
        self._small.write(small.tobytes())
        self._hashes.append(thumbnails.dhash(small))

    def groups(self, keys: Rows) -> Rows:
        self._small.flush()
        sets = _Sets(len(keys))
        of_key, first_of_key = equal_keys.grouped(keys)
        first = np.sort(first_of_key)
        if len(first) > 1:
            pixels = thumbnails.PIXELS * thumbnails.PIXELS
            shape = (-1, pixels)
            small = np.memmap(self._small, dtype=np.uint8, mode="r").reshape(shape)
            hashes = np.frombuffer(self._hashes, dtype=np.uint64)[first]
            for a, b in _neighbours(hashes):
                for begin in range(0, len(a), BATCH_PAIRS):
                    one = first[a[begin : begin + BATCH_PAIRS]]
                    two = first[b[begin : begin + BATCH_PAIRS]]
                    apart = sets.roots[one] != sets.roots[two]
                    one, two = one[apart], two[apart]
                    difference = np.abs(small[one].astype(np.int16) - small[two]).mean(axis=1)
                    near = difference <= DIFFERENCE * 255
                    sets.join(one[near], two[near])
        return _of_rows(sets, of_key, first_of_key)

    def close(self) -> None:
        self._small.close()


class _Sets:
    """Rows that are joined step by step; `roots` [rows] names the first row of each one's set."""

    def __init__(self, rows: int) -> None:
        self.roots = np.arange(rows, dtype=np.int32)

    def join(self, one: Rows, two: Rows) -> None:
        """The sets of each pair are one."""
        while len(one):
            a, b = self.roots[one], self.roots[two]
            low, high = np.minimum(a, b), np.maximum(a, b)
            np.minimum.at(self.roots, high, low)
            while True:
                shorter = self.roots[self.roots]
                if np.array_equal(shorter, self.roots):
                    break
                self.roots = shorter
            apart = self.roots[one] != self.roots[two]
            one, two = one[apart], two[apart]


def _of_rows(sets: _Sets, of_key: Rows, first: Rows) -> Rows:
    """Rows with the key of another belong to its group."""
    roots: Rows = sets.roots[first][of_key]
    return roots


def _mixed(values: Rows) -> Rows:
    """The finaliser of splitmix64: every bit of the outcome depends on every one given."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Rows = values ^ (values >> np.uint64(31))
    return mixed


def _equal(band: Rows, rows: Rows) -> tuple[Rows, Rows]:
    """Pairs of rows with one band: each with the one before it, and with the first of them all."""
    order = np.argsort(band, kind="stable")
    band, rows = band[order], rows[order]
    begins = np.concatenate([[True], band[1:] != band[:-1]])
    lead = np.maximum.accumulate(np.where(begins, np.arange(len(band)), 0))
    later = np.flatnonzero(~begins)
    beyond = later[lead[later] < later - 1]
    one = np.concatenate([rows[later - 1], rows[lead[beyond]]])
    return one, np.concatenate([rows[later], rows[beyond]])


def _batches(weights: Rows) -> Iterator[slice]:
    """Slices of at least one place, and of BATCH_COMPARED together where that can be."""
    reached = np.cumsum(weights)
    begin = 0
    while begin < len(weights):
        before = int(reached[begin - 1]) if begin else 0
        end = int(np.searchsorted(reached, before + BATCH_COMPARED, side="right"))
        yield slice(begin, max(end, begin + 1))
        begin = max(end, begin + 1)


def _neighbours(hashes: Rows) -> Iterator[tuple[Rows, Rows]]:
    """Pairs of places whose hashes differ in few bits, in four orders."""
    for quarter in range(4):
        turn = np.uint64(16 * quarter)
        turned = (hashes << turn) | (hashes >> (np.uint64(64) - turn)) if quarter else hashes
        order = np.argsort(turned, kind="stable")
        for step in range(1, NEIGHBOURS + 1):
            a, b = order[:-step], order[step:]
            near = np.bitwise_count(hashes[a] ^ hashes[b]) <= BITS
            yield a[near], b[near]


def _jaccard(pairs: Rows, starts: Rows, sizes: Rows, one: Rows, two: Rows) -> Rows:
    """`[pairs of rows]`: what both have of what either has."""
    places = np.arange(len(one), dtype=np.uint64) << np.uint64(40)
    both = []
    for rows in (one, two):
        lengths = sizes[rows]
        ends = np.cumsum(lengths)
        index = np.repeat(starts[rows] - ends + lengths, lengths) + np.arange(int(ends[-1]))
        both.append(np.repeat(places, lengths) | pairs[index])
    told = np.sort(np.concatenate(both))
    twice = told[1:][told[1:] == told[:-1]]
    shared = np.bincount((twice >> np.uint64(40)).astype(np.int64), minlength=len(one))
    found: Rows = shared / (sizes[one] + sizes[two] - shared)
    return found
