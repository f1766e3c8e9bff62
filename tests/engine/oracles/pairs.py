"""Pairs of answers that a seed describes: what two networks say of their tokens."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

JSON = dict[str, Any]
Array = NDArray[np.float64]


def answers(said: JSON) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Tokens `[2 * pairs, time]`, the chosen answers and then the rejected ones, and which of them
    are an answer's: `{"seed": 0, "pairs": 3, "time": 7, "vocabulary": 11}`."""
    chance = np.random.default_rng(said["seed"])
    rows = 2 * said["pairs"]
    tokens = chance.integers(0, said["vocabulary"], (rows, said["time"]))
    lengths = chance.integers(1, said["time"] + 1, rows)
    return tokens, np.arange(said["time"]) < lengths[:, None]


def logits(said: JSON) -> tuple[Array, Array]:
    """What the student and its reference say at each place, `[2 * pairs, time, vocabulary]`."""
    chance = np.random.default_rng(500 + said["seed"])
    shape = (2 * said["pairs"], said["time"], said["vocabulary"])
    return 2.0 * chance.standard_normal(shape), 2.0 * chance.standard_normal(shape)


def towards(said: JSON) -> Array:
    """A fixed direction among the student's numbers, along which a gradient is measured."""
    chance = np.random.default_rng(1000 + said["seed"])
    return chance.standard_normal((2 * said["pairs"], said["time"], said["vocabulary"]))
