"""Answers that are more than one name: any number of labels a row, joined as columns of parts hold
them.

What is counted of them: of each label whether a row has it (`prediction.<label>`, so that each has
a test of its own, and all are corrected together), which it has beside the labels that are counted
(`answered.other_labels`: the first one), and how many it has (`answered.labels`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Said = Sequence[str | None]

SEPARATOR = "|"
OF_LABEL, ANSWERED = "prediction.", "answered."
AGREED = "agreement."  # before a label, of the overlaps of a window
HOW_MANY, OTHERS = "answered.labels", "answered.other_labels"
YES, NO, NONE = "yes", "no", "(none)"
MOST_WORD = 200  # characters of a label that stand for it
MOST_LABELS = 40  # that are counted by name, the most frequent of the reference's


def labels_of(said: str | None) -> frozenset[str] | None:
    """A text without a label is an empty set; None is unknown."""
    if said is None:
        return None
    return frozenset(one for one in said.split(SEPARATOR) if one)


def counted(said: Said, labels: Sequence[str], named: Iterable[str] | None) -> dict[str, Any]:
    """Signals, with their kinds. `named` are labels that are counted by name; None: those that are
    most frequent here, in the order of labels."""
    sets = [labels_of(one) for one in said]
    if named is None:
        found = Counter(one for some in sets for one in some or ())
        ranked = sorted(labels, key=lambda one: -found[one])[:MOST_LABELS]
        named = [one for one in labels if one in set(ranked)]
    known = list(named)
    signals: dict[str, Any] = {
        f"{OF_LABEL}{label}": ("categories", [_is(some, label) for some in sets]) for label in known
    }
    beside = [
        None if some is None else min(some.difference(known), default=NONE)[:MOST_WORD]
        for some in sets
    ]
    signals[OTHERS] = ("categories", beside)
    many = [np.nan if some is None else float(len(some)) for some in sets]
    signals[HOW_MANY] = ("numbers", np.array(many, dtype=np.float64))
    return signals


def named(bins: Iterable[str]) -> list[str] | None:
    """The labels that a reference counts by name; None before there is one."""
    known = list(bins)
    found = [one.removeprefix(OF_LABEL) for one in known if one.startswith(OF_LABEL)]
    return found if known else None


def alike(one: Said, two: Said) -> Floats:
    """`[rows]`: of two sets of labels, those in both among those in either (Jaccard 1901); 1 of two
    empty ones, NaN where one is unknown."""
    found = np.full(len(one), np.nan)
    pairs = zip(map(labels_of, one), map(labels_of, two), strict=True)
    for place, (left, right) in enumerate(pairs):
        if left is not None and right is not None:
            either = left | right
            found[place] = len(left & right) / len(either) if either else 1.0
    return found


def alike_by_label(one: Said, two: Said, labels: Iterable[str]) -> dict[str, Floats]:
    """Of each label `[rows]`: 1 where both have it, 0 where one alone has; NaN where neither has,
    or one is unknown. That both leave a rare label out says little, and would hide all else."""
    pairs = list(zip(map(labels_of, one), map(labels_of, two), strict=True))
    found = {label: np.full(len(pairs), np.nan) for label in labels}
    for place, (left, right) in enumerate(pairs):
        if left is None or right is None:
            continue
        for label in left | right:
            if label in found:
                found[label][place] = float(label in left and label in right)
    return found


def sure(said: Said, labels: Sequence[str], probabilities: Floats) -> Floats:
    """`[rows]`: how likely exactly this set is, were labels independent; NaN of one that has a
    label of which nothing is known."""
    places = {label: at for at, label in enumerate(labels)}
    held = np.zeros((len(said), len(labels)), dtype=bool)
    known = np.ones(len(said), dtype=bool)
    for row, some in enumerate(map(labels_of, said)):
        at = [places.get(one, -1) for one in some or ()]
        known[row] = some is not None and -1 not in at
        if known[row]:
            held[row, at] = True
    chances = np.where(held, probabilities, 1 - probabilities).prod(axis=1)
    return np.where(known, chances, np.nan)


def _is(some: frozenset[str] | None, label: str) -> str | None:
    return None if some is None else YES if label in some else NO
