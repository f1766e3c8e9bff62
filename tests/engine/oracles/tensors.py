"""Tensors that a seed describes, the same here and where other libraries run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

JSON = dict[str, Any]
Array = NDArray[np.float64]


def pair(said: JSON) -> tuple[Array, Array]:
    """What a student and a teacher say: `{"seed": 0, "student": [8, 5], "teacher": [8, 5]}`."""
    chance = np.random.default_rng(said["seed"])
    student = np.asarray(chance.standard_normal(said["student"]))
    return student, 2.0 * np.asarray(chance.standard_normal(said["teacher"]))


def towards(said: JSON) -> Array:
    """A fixed direction among the student's numbers, along which a gradient is measured."""
    chance = np.random.default_rng(1000 + said["seed"])
    return np.asarray(chance.standard_normal(said["student"]))
