"""Labels and answers that a seed describes, the same here and where other libraries run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

JSON = dict[str, Any]
Numbers = NDArray[np.int64]

TAGS = {
    "IOB2": ["O", "B-LOC", "B-PER", "I-LOC", "I-PER"],
    "IOBES": ["B-LOC", "B-PER", "E-LOC", "E-PER", "I-LOC", "I-PER", "O", "S-LOC", "S-PER"],
    "IO": ["I-LOC", "I-ORG", "I-PER", "O"],
}


def sentences(said: JSON) -> tuple[Numbers, Numbers, Numbers]:
    """Tags that are true, those answered, three in four of them the same, and where each of
    `{"seed", "tags", "sentences"}` begins."""
    chance = np.random.default_rng(said["seed"])
    lengths = chance.integers(1, 12, int(said["sentences"]))
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    many = len(TAGS[str(said["tags"])])
    truth, other = chance.integers(0, many, (2, int(starts[-1])))
    return truth, np.where(chance.random(len(truth)) < 0.75, truth, other), starts


def logits(said: JSON) -> tuple[NDArray[np.float64], Numbers]:
    """`{"seed", "rows", "classes", "scale"}`: logits and labels they know something of."""
    chance = np.random.default_rng(said["seed"])
    rows, classes = int(said["rows"]), int(said["classes"])
    labels = chance.integers(0, classes, rows)
    drawn = chance.standard_normal((rows, classes))
    drawn[np.arange(len(labels)), labels] += 1.0
    return float(said["scale"]) * drawn, labels
