"""Where rows stand among a reference's: on its plane, and how far from the nearest of its rows.

The plane is spanned by the two directions in which the reference differs most. It is linear, so
that a live row is placed exactly where it belongs, and one unlike all others stands apart: on a map
of neighbours it would have to stand amid some.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from training.engine import components

Floats = NDArray[np.float64]
NAME = "vectors_plane.npz"  # the file of a reference's files that holds it

NEAREST = 5  # rows of the reference whose distance is a row's
AT_ONCE = 2048
QUANTILES = (0.5, 0.9, 0.99)  # of the reference's own distances that are told


@dataclass(frozen=True)
class Nearness:
    """`vectors` `[rows, width]` of the reference's sample, float16, of length 1, with their `ids`;
    `mean` `[width]` and `into` `[width, 2]` make the plane, `shares` of all variance each."""

    vectors: NDArray[np.float16]
    ids: tuple[str, ...]
    mean: Floats
    into: Floats
    shares: tuple[float, ...]

    @classmethod
    def fit(cls, vectors: Any, ids: list[str], every: Any = None) -> Self:
        """Of the sample `[rows, width]`; the plane is that of `every` row where they are given.
        There is at least one row, and none with NaN."""
        plane = vectors if every is None else every

        def pieces() -> Iterator[Any]:
            for start in range(0, len(plane), AT_ONCE):
                yield plane[start : start + AT_ONCE].astype(np.float32)

        mean, into, shares = components.principal(pieces, 2)
        return cls(
            np.asarray(vectors, dtype=np.float16),
            tuple(ids),
            mean,
            into,
            tuple(float(one) for one in shares),
        )

    @property
    def width(self) -> int:
        return int(self.vectors.shape[1])

    def place(self, vectors: Any) -> NDArray[np.float32]:
        """`[rows, 2]` on the plane; NaN where a vector has NaN. Raises ValueError for another
        width."""
        some = self._suiting(vectors)
        points = np.zeros((len(some), 2), dtype=np.float32)
        placed = (some - self.mean) @ self.into
        points[:, : placed.shape[1]] = placed
        return points

    def distances(self, vectors: Any, *, among_itself: bool = False) -> Floats:
        """`[rows]`: 1 less the mean cosine with the NEAREST rows of the reference, from 0 to 2;
        NaN where a vector has NaN. `among_itself` where they are the reference's sample, of which
        each row would be its own nearest."""
        some = self._suiting(vectors)
        own = self.vectors.astype(np.float32)
        most = min(NEAREST + among_itself, len(own))
        found = np.full(len(some), np.nan)
        for start in range(0, len(some), AT_ONCE):
            alike = some[start : start + AT_ONCE].astype(np.float32) @ own.T
            nearest = -np.sort(-np.partition(alike, -most, axis=1)[:, -most:], axis=1)
            if among_itself and most > 1:
                nearest = nearest[:, 1:]
            found[start : start + len(alike)] = 1 - nearest.mean(axis=1)
        return np.where(found < 0, 0.0, found)

    def limits(self) -> dict[str, float]:
        """How far rows of the reference themselves stand, by quantile: `{"0.5", "0.9", "0.99"}`."""
        found = self.distances(self.vectors, among_itself=True)
        return {f"{one:g}": float(np.quantile(found, one)) for one in QUANTILES}

    def _suiting(self, vectors: Any) -> Floats:
        some: Floats = np.asarray(vectors, dtype=np.float64).reshape(-1, np.shape(vectors)[-1])
        if some.shape[1] != self.width:
            raise ValueError(f"These vectors have {some.shape[1]} numbers, not {self.width}.")
        return some

    def save(self, path: Path) -> None:
        np.savez_compressed(
            path,
            vectors=self.vectors,
            ids=np.array(self.ids, dtype=np.str_),
            mean=self.mean,
            into=self.into,
            shares=np.array(self.shares),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        with np.load(path, allow_pickle=False) as kept:
            return cls(
                kept["vectors"],
                tuple(str(one) for one in kept["ids"]),
                kept["mean"],
                kept["into"],
                tuple(float(one) for one in kept["shares"]),
            )
