"""Vectors brought to two dimensions, for people to look at.

    principal    the two directions in which they differ most; exact, and quick
    neighbours   near stays near: t-SNE (van der Maaten, Hinton, JMLR 2008; Barnes and Hut's
                 approximation, 2014), begun at the principal directions. Of many rows some are
                 placed so, evenly spread over the file, and each other one amid those that it is
                 nearest to.

Both give the same picture every time. Vectors have length 1, so that the nearest has the largest
product.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.engine import components

Points = NDArray[np.float32]

WAYS = ("principal", "neighbours")
PLACED = 5000  # rows that t-SNE itself places
FEWEST = 10  # rows below which neighbours say nothing
PERPLEXITY = 30.0
AMID = 5  # rows among which another one is placed
AT_ONCE = 4096


def principal(vectors: NDArray[Any]) -> tuple[Points, list[float]]:
    """(`[rows, 2]`, the share of all variance that each direction has)."""
    mean, into, share = components.principal(lambda: _pieces(vectors), 2)
    points = np.zeros((len(vectors), 2), dtype=np.float32)
    start = 0
    for piece in _pieces(vectors):
        placed = (piece.astype(np.float64) - mean) @ into
        points[start : start + len(piece), : placed.shape[1]] = placed
        start += len(piece)
    return points, [float(one) for one in share]


def neighbours(
    vectors: NDArray[Any], *, seed: int = 0, say: Callable[[str], None] = lambda _: None
) -> Points:
    """`[rows, 2]`."""
    rows = len(vectors)
    begin, _ = principal(vectors)
    if rows < FEWEST:
        return begin
    from sklearn.manifold import TSNE  # noqa: PLC0415 - a second, and few maps are made so
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    some = np.unique(np.linspace(0, rows - 1, min(rows, PLACED)).astype(np.int64))
    start = begin[some] / max(float(begin[some, 0].std()), 1e-9) * 1e-4
    method = TSNE(
        2,
        perplexity=min(PERPLEXITY, (len(some) - 1) / 3),
        init=start.astype(np.float32),
        random_state=seed,
        n_jobs=1,
    )
    say(f"placing {len(some):,} rows")
    with threadpool_limits(1):  # sums in another order would be another picture
        placed = method.fit_transform(vectors[some].astype(np.float32))
    points = np.zeros((rows, 2), dtype=np.float32)
    landmarks = vectors[some].astype(np.float32)
    for first in range(0, rows, AT_ONCE):
        piece = vectors[first : first + AT_ONCE].astype(np.float32)
        points[first : first + len(piece)] = _amid(piece @ landmarks.T, placed)
        if rows > len(some):
            say(f"{min(first + AT_ONCE, rows):,} of {rows:,} rows placed")
    points[some] = placed
    return points


def _amid(products: NDArray[np.float32], placed: Points) -> NDArray[np.float32]:
    """`[some, 2]`: between the nearest of those that are placed, nearer to the nearer ones."""
    most = min(AMID, products.shape[1])
    nearest = np.argpartition(-products, most - 1, axis=1)[:, :most]
    weights = np.maximum(np.take_along_axis(products, nearest, axis=1), 0) ** 8 + 1e-6
    weights /= weights.sum(axis=1, keepdims=True)
    found: NDArray[np.float32] = (placed[nearest] * weights[:, :, None]).sum(axis=1)
    return found


def _pieces(vectors: NDArray[Any]) -> Iterator[NDArray[Any]]:
    for start in range(0, len(vectors), AT_ONCE):
        yield vectors[start : start + AT_ONCE]
