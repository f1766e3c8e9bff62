"""A column of names: the levels of a reference, and a window counted by them."""

import functools
import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.engine.sketches.packing import JSON, fingerprint, first, pack, place, unpack
from training.engine.sketches.quantiles import Counts

MOST_LEVELS = 100  # that have a count of their own; rarer ones share one
MOST_KNOWN = 10_000  # that are told from new ones; of a column with more, nothing is new
MOST_UNSEEN = 32  # of which the names are kept


@dataclass(frozen=True)
class CategoryBins:
    """`levels` are the most frequent first; `rare` are the hashes of the others, None where there
    are too many to remember."""

    levels: tuple[str, ...]
    rare: tuple[int, ...] | None

    @classmethod
    def fit(cls, values: Iterable[Any], most: int = MOST_LEVELS) -> "CategoryBins":
        found, _ = counted(values)
        ranked = sorted(found, key=lambda name: (-found[name], name))
        others = ranked[most:]
        known = len(ranked) <= MOST_KNOWN
        return cls(tuple(ranked[:most]), tuple(sorted(map(place, others))) if known else None)

    @functools.cached_property
    def key(self) -> str:
        return fingerprint(self.as_dict())

    @functools.cached_property
    def _places(self) -> dict[str, int]:
        return {name: at for at, name in enumerate(self.levels)}

    @functools.cached_property
    def _rare(self) -> frozenset[int]:
        return frozenset(self.rare or ())

    def sketch(self, values: Iterable[Any]) -> "CategorySketch":
        """None and NaN are missing; a whole number is the same level as int and as float."""
        found, missing = counted(values)
        counts = np.zeros(len(self.levels) + 2, dtype=np.int64)
        unseen: dict[str, int] = {}
        for name, rows in found.items():
            at = self._places.get(name)
            if at is not None:
                counts[at] += rows
            elif self.rare is None or (self._rare and place(name) in self._rare):
                counts[-2] += rows
            else:
                counts[-1] += rows
                unseen[name] = rows
        kept = {name: unseen[name] for name in first(unseen, MOST_UNSEEN)}
        return CategorySketch(self.key, counts, missing, kept)

    def as_dict(self) -> JSON:
        rare = None if self.rare is None else pack(np.array(self.rare, dtype=np.uint64))
        return {"kind": "categories", "levels": list(self.levels), "rare": rare}

    @classmethod
    def from_dict(cls, said: JSON) -> "CategoryBins":
        rare = said["rare"]
        known = None if rare is None else tuple(int(one) for one in unpack(rare, "uint64"))
        return cls(tuple(said["levels"]), known)


@dataclass(frozen=True, slots=True)
class CategorySketch:
    """`counts` `[levels + 2]`: by level, then of rarer ones, then of ones that the reference never
    had. `unseen` names some of those, chosen by chance, with their exact counts."""

    bins: str
    counts: Counts
    missing: int
    unseen: dict[str, int]

    @property
    def rows(self) -> int:
        """Without missing ones."""
        return int(self.counts.sum())

    @property
    def rows_unseen(self) -> int:
        return int(self.counts[-1])

    def merge(self, other: "CategorySketch") -> "CategorySketch":
        """Of both windows. Raises ValueError where the levels are others."""
        if self.bins != other.bins:
            raise ValueError("These sketches count other levels: they have two references.")
        names = first([*self.unseen, *other.unseen], MOST_UNSEEN)
        unseen = {name: self.unseen.get(name, 0) + other.unseen.get(name, 0) for name in names}
        counts = self.counts + other.counts
        return CategorySketch(self.bins, counts, self.missing + other.missing, unseen)

    def as_dict(self) -> JSON:
        return {
            "kind": "categories",
            "bins": self.bins,
            "counts": pack(self.counts),
            "missing": self.missing,
            "unseen": dict(self.unseen),
        }

    @classmethod
    def from_dict(cls, said: JSON) -> "CategorySketch":
        counts = unpack(said["counts"], "int64")
        return cls(said["bins"], counts, said["missing"], dict(said["unseen"]))


def counted(values: Iterable[Any]) -> tuple[Counter[str], int]:
    """How often each name stands there, and how many values are missing."""
    if isinstance(values, np.ndarray):
        values = values.ravel().tolist()
    found: Counter[str] = Counter()
    missing = 0
    for value, rows in Counter(values).items():
        if value is None or (isinstance(value, float) and math.isnan(value)):
            missing += rows
        elif isinstance(value, float) and value.is_integer():
            found[str(int(value))] += rows
        else:
            found[str(value)] += rows
    return found, missing
