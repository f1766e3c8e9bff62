"""Vectors of rows: directions and random features that a reference sets, and a window of them.

The mean of random Fourier features (Rahimi, Recht, Random Features for Large-Scale Kernel
Machines, NIPS 2007) holds what a Gaussian kernel sees of a distribution: the distance of two means
is the maximum mean discrepancy of the windows, without a pair of rows being compared.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine.sketches.packing import JSON, fingerprint, first, pack, unpack
from training.engine.sketches.quantiles import Counts, Floats

Singles = NDArray[np.float32]

DIRECTIONS = 32  # principal components whose histograms are kept
FEATURES = 512  # random ones: half of them cosines, half sines
CELLS = 50  # of each direction's histogram
MOST_FITTED = 20_000  # rows of a reference that directions and spread are learnt from
MOST_PAIRED = 1000  # rows whose distances set the kernel's width
MOST_IDS = 64  # rows of a window that are kept by name
CHUNK = 4096  # rows whose features are held at once


@dataclass(frozen=True)
class EmbeddingBins:
    """`centre` `[width]`, `directions` `[directions, width]`, `edges` `[directions, cells - 1]`;
    `bandwidth` is σ of the kernel exp(-‖x - y‖² / 2σ²), `seed` draws its features.

    `spread` are tr C, tr C² and tr C³ of the features' covariance C in the reference: all that is
    needed to tell how far apart two means are by chance.
    """

    centre: Singles
    directions: Singles
    edges: Singles
    bandwidth: float
    seed: int
    features: int
    spread: tuple[float, float, float]

    @classmethod
    def fit(cls, vectors: Any, *, seed: int = 0, features: int = FEATURES) -> "EmbeddingBins":
        """Of a reference `[rows, width]`. The kernel is as wide as the median distance of two rows
        (Gretton et al., A Kernel Two-Sample Test, JMLR 2012, section 8)."""
        every, _ = whole(vectors)
        chance = np.random.RandomState(seed)  # its streams are the same in every version of NumPy
        if len(every) > MOST_FITTED:
            every = every[np.sort(chance.choice(len(every), MOST_FITTED, replace=False))]
        width = every.shape[1]
        kept = min(DIRECTIONS, width)
        if not len(every):
            empty = np.zeros((kept, width), np.float32), np.zeros((kept, CELLS - 1), np.float32)
            return cls(np.zeros(width, np.float32), *empty, 1.0, seed, features, (0.0, 0.0, 0.0))
        centre = every.mean(axis=0, dtype=np.float64).astype(np.float32)
        apart = every - centre
        _, found = np.linalg.eigh((apart.T @ apart).astype(np.float64))
        directions = _signed(found[:, ::-1][:, :kept].T).astype(np.float32)
        shares = np.arange(1, CELLS) / CELLS
        along = apart @ directions.T
        edges = np.quantile(along, shares, axis=0, method="inverted_cdf").T.astype(np.float32)
        bins = cls(centre, directions, edges, bandwidth(every), seed, features, (0.0, 0.0, 0.0))
        return cls(centre, directions, edges, bins.bandwidth, seed, features, bins._spread(every))

    @property
    def width(self) -> int:
        return len(self.centre)

    @functools.cached_property
    def key(self) -> str:
        return fingerprint(self.as_dict())

    @functools.cached_property
    def frequencies(self) -> Singles:
        """`[width, features / 2]`, of the kernel's own distribution."""
        drawn = np.random.RandomState(self.seed + 1).standard_normal(
            (self.width, self.features // 2)
        )
        found: Singles = (drawn / self.bandwidth).astype(np.float32)
        return found

    def lifted(self, vectors: Singles) -> Singles:
        """`[rows, features]`, each of length 1: products of two rows are nearly their kernel."""
        turned = (vectors - self.centre) @ self.frequencies
        found: Singles = np.concatenate([np.cos(turned), np.sin(turned)], axis=1)
        found *= np.float32(1 / np.sqrt(self.features // 2))
        return found

    def sketch(self, vectors: Any, ids: Sequence[str] = ()) -> "EmbeddingSketch":
        """Of `[rows, width]`; a row with a number that is not finite is missing. `ids` are names of
        the rows. Raises ValueError for another width."""
        every, missing = whole(vectors, self.width)
        total, lifted = np.zeros(self.width), np.zeros(self.features)
        kept, cells = len(self.directions), self.edges.shape[1] + 1
        counts = np.zeros((kept, cells), dtype=np.int64)
        for begin in range(0, len(every), CHUNK):
            part = every[begin : begin + CHUNK]
            total += part.sum(axis=0, dtype=np.float64)
            lifted += self.lifted(part).sum(axis=0, dtype=np.float64)
            along = (part - self.centre) @ self.directions.T
            for one in range(kept):
                where = np.searchsorted(self.edges[one], along[:, one], side="left")
                counts[one] += np.bincount(where, minlength=cells)
        return EmbeddingSketch(
            self.key,
            len(every),
            missing,
            total,
            lifted,
            counts,
            tuple(first(ids, MOST_IDS)),
            self.spread,
        )

    def _spread(self, every: Singles) -> tuple[float, float, float]:
        """Traces of C, C², C³. What an estimate of C from few rows adds to them is taken off."""
        rows = len(every)
        if rows < 2:
            return (0.0, 0.0, 0.0)
        lifted = self.lifted(every)
        mean = lifted.mean(axis=0, dtype=np.float64)
        apart = lifted - mean.astype(np.float32)
        covariance = (apart.T @ apart).astype(np.float64) / (rows - 1)
        square = covariance @ covariance
        one = float(np.trace(covariance))
        two = float(np.trace(square))
        three = float((square * covariance.T).sum())
        fair = max(two - one * one / rows, two / 2)
        return one, fair, max(three - 3 * one * fair / rows - one**3 / rows**2, three / 4)

    def as_dict(self) -> JSON:
        return {
            "kind": "embeddings",
            "width": self.width,
            "centre": pack(self.centre),
            "directions": pack(self.directions),
            "edges": pack(self.edges),
            "bandwidth": self.bandwidth,
            "seed": self.seed,
            "features": self.features,
            "spread": list(self.spread),
        }

    @classmethod
    def from_dict(cls, said: JSON) -> "EmbeddingBins":
        directions = unpack(said["directions"], "float32").reshape(-1, said["width"])
        return cls(
            centre=unpack(said["centre"], "float32"),
            directions=directions,
            edges=unpack(said["edges"], "float32").reshape(len(directions), -1),
            bandwidth=said["bandwidth"],
            seed=said["seed"],
            features=said["features"],
            spread=tuple(said["spread"]),
        )


@dataclass(frozen=True, slots=True)
class EmbeddingSketch:
    """Sums over rows: of the vectors `[width]` and of their features `[features]`; `counts`
    `[directions, cells]`; `ids` are some of the rows, chosen by chance, the same whatever came
    first; `spread` is that of the reference."""

    bins: str
    rows: int
    missing: int
    total: Floats
    lifted: Floats
    counts: Counts
    ids: tuple[str, ...]
    spread: tuple[float, float, float]

    @property
    def mean(self) -> Floats:
        """`[width]`, 0 without a row."""
        return self.total / max(1, self.rows)

    @property
    def features(self) -> Floats:
        """The mean of the random features, `[features]`."""
        return self.lifted / max(1, self.rows)

    def merge(self, other: "EmbeddingSketch") -> "EmbeddingSketch":
        """Of both windows. Raises ValueError where they belong to two references."""
        if self.bins != other.bins:
            raise ValueError("These sketches have other directions: they have two references.")
        return EmbeddingSketch(
            self.bins,
            self.rows + other.rows,
            self.missing + other.missing,
            self.total + other.total,
            self.lifted + other.lifted,
            self.counts + other.counts,
            tuple(first([*self.ids, *other.ids], MOST_IDS)),
            self.spread,
        )

    def as_dict(self) -> JSON:
        return {
            "kind": "embeddings",
            "bins": self.bins,
            "rows": self.rows,
            "missing": self.missing,
            "total": pack(self.total),
            "lifted": pack(self.lifted),
            "directions": len(self.counts),
            "counts": pack(self.counts),
            "ids": list(self.ids),
            "spread": list(self.spread),
        }

    @classmethod
    def from_dict(cls, said: JSON) -> "EmbeddingSketch":
        return cls(
            said["bins"],
            said["rows"],
            said["missing"],
            unpack(said["total"], "float64"),
            unpack(said["lifted"], "float64"),
            unpack(said["counts"], "int64").reshape(said["directions"], -1),
            tuple(said["ids"]),
            tuple(said["spread"]),
        )


def whole(vectors: Any, width: int | None = None) -> tuple[Singles, int]:
    """Rows whose numbers are all finite, in float32, and how many are not. Raises ValueError for
    what is no table, or has another width."""
    every: Singles = np.asarray(vectors, dtype=np.float32)
    if every.ndim != 2 and every.size == 0:
        every = every.reshape(0, width or 1)
    if every.ndim != 2 or width not in (None, every.shape[1]):
        raise ValueError(f"Vectors are a table of {width or 'some'} columns, not {every.shape}.")
    fine = np.isfinite(every).all(axis=1)
    return (every, 0) if fine.all() else (every[fine], int(len(every) - fine.sum()))


def bandwidth(vectors: Singles) -> float:
    """σ of the kernel: σ² is half the median of the squared distances of two rows; 1 where all rows
    are alike."""
    some = vectors
    if len(some) > MOST_PAIRED:
        chosen = np.random.RandomState(0).choice(len(some), MOST_PAIRED, replace=False)
        some = some[np.sort(chosen)]
    if len(some) < 2:
        return 1.0
    apart = squared_distances(some, some)[np.triu_indices(len(some), 1)]
    return float(np.sqrt(np.median(apart) / 2)) or 1.0


def squared_distances(one: NDArray[Any], two: NDArray[Any]) -> Floats:
    """`[rows of one, rows of two]`."""
    left, right = one.astype(np.float64), two.astype(np.float64)
    found: Floats = (
        np.square(left).sum(axis=1)[:, None]
        + np.square(right).sum(axis=1)[None]
        - 2 * left @ right.T
    )
    return np.maximum(found, 0.0)


def _signed(directions: Floats) -> Floats:
    """Each with its largest part above 0, so that a machine's taste in signs does not matter."""
    largest = np.abs(directions).argmax(axis=1)
    signs = np.sign(directions[np.arange(len(directions)), largest])
    found: Floats = directions * np.where(signs == 0, 1, signs)[:, None]
    return found
