"""The directions in which rows differ most, exactly or nearly, always the same ones.

Signs of directions are free; here the entry of each that is largest is positive.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

BEYOND = 10  # directions that are looked for beyond those that are wanted
TURNS = 4  # of the power iteration


def largest(matrix: Any, directions: int, seed: int = 0) -> Floats:
    """`[columns, directions]`: the first right singular vectors of a sparse or dense `[rows,
    columns]`, nearly (Halko, Martinsson, Tropp: Finding Structure with Randomness, 2011, algorithm
    4.4), with at most as many directions as there are rows or columns."""
    directions = min(directions, *matrix.shape)
    chance = np.random.default_rng(seed)
    many = min(directions + BEYOND, *matrix.shape)
    start = chance.standard_normal((matrix.shape[1], many)).astype(np.float32)
    basis = np.linalg.qr(matrix @ start)[0]
    for _ in range(TURNS):
        basis = np.linalg.qr(matrix.T @ basis)[0]
        basis = np.linalg.qr(matrix @ basis)[0]
    small = (matrix.T @ basis).T
    found = np.linalg.svd(small, full_matrices=False)[2][:directions].T
    return signed(found).astype(np.float32)


def principal(
    pieces: Callable[[], Iterator[NDArray[Any]]], directions: int
) -> tuple[Doubles, Doubles, Doubles]:
    """(mean `[columns]`, `[columns, directions]`, their share of all variance) of rows that come in
    pieces, `[some, columns]` each; exactly, by the covariance, in double precision."""
    total: Any = 0.0
    many = 0
    for piece in pieces():
        total = total + piece.sum(axis=0, dtype=np.float64)
        many += len(piece)
    mean = np.atleast_1d(np.asarray(total / max(1, many), dtype=np.float64))
    spread = np.zeros((len(mean), len(mean)))
    for piece in pieces():
        away = piece.astype(np.float64) - mean
        spread += away.T @ away
    values, vectors = np.linalg.eigh(spread)
    order = np.argsort(values)[::-1][:directions]
    share = np.maximum(values[order], 0) / max(float(values.sum()), 1e-12)
    return mean, signed(vectors[:, order]), share


def signed(directions: NDArray[Any]) -> NDArray[Any]:
    """With the largest entry of each positive, the first of equally large ones."""
    if not directions.size:
        return directions
    places = np.abs(directions).argmax(axis=0)
    signs = np.sign(directions[places, np.arange(directions.shape[1])])
    return directions * np.where(signs == 0, 1, signs)
