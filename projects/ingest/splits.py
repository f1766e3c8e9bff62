"""Which rows train, validate and test, where the upload does not say: stratified and seeded.

Rows with the same input always go together, so that a split made here never leaks.
"""

from __future__ import annotations

from typing import Any

from distillhub.lib.later import np
from projects.ingest import equal_keys
from projects.ingest.formats import SPLITS, TEST, TRAIN, VALIDATION

DEFAULT = {TRAIN: 0.8, VALIDATION: 0.1, TEST: 0.1}
CARVED = 0.1  # of the training rows become validation where only train and test are given
NONE = -1
ALONE = 0  # the group of a row that belongs to nothing


def assign(
    given: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    keys: np.ndarray[Any, Any],
    proportions: dict[str, float],
    seed: int,
) -> tuple[np.ndarray[Any, Any], str]:
    """The split of every row as an index of SPLITS, and how it came about in words.

    `given` [rows]: index of SPLITS, or NONE; `labels` [rows]: class, or -1; `keys` [rows]: equal
    for equal inputs. Rows whose split is given keep it.
    """
    found = {index: bool((given == index).any()) for index in (NONE, *range(len(SPLITS)))}
    train, validation, test = (SPLITS.index(name) for name in (TRAIN, VALIDATION, TEST))
    result = given.astype(np.int8, copy=True)
    if found[NONE]:
        _divide(result, given == NONE, labels, keys, proportions, seed)
        if found[train] or found[validation] or found[test]:
            return result, f"Given for some rows; the others divided, {_words(proportions, seed)}."
        return result, f"Divided, {_words(proportions, seed)}."
    if found[train] and not found[validation] and not found[test]:
        _divide(result, given == train, labels, keys, proportions, seed)
        return result, f"All rows were given as train, and divided, {_words(proportions, seed)}."
    if found[train] and found[test] and not found[validation]:
        carved = {TRAIN: 1 - CARVED, VALIDATION: CARVED}
        _divide(result, given == train, labels, keys, carved, seed)
        return result, (
            f"Train and test as given; {CARVED:.0%} of the training rows set aside for "
            f"validation, stratified by label, seed {seed}."
        )
    return result, "As given."


def joined(keys: np.ndarray[Any, Any], groups: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """[rows]: equal for rows that must go together, which have one input or one group, or are so
    joined through others. `groups` [rows]: ALONE where a row belongs to nothing."""
    by_key = np.unique(keys, return_inverse=True)[1]
    alone = groups == ALONE
    by_group = np.unique(groups, return_inverse=True)[1]
    by_group[alone] = by_group.max(initial=0) + 1 + np.arange(int(alone.sum()))
    together = np.arange(len(keys))
    while True:
        before = together
        for names in (by_key, by_group):
            least = np.full(int(names.max(initial=0)) + 1, len(keys))
            np.minimum.at(least, names, together)
            together = least[names]
        if np.array_equal(before, together):
            return together


def _words(proportions: dict[str, float], seed: int) -> str:
    parts = ", ".join(f"{proportions[name]:.0%} {name}" for name in SPLITS if proportions.get(name))
    return f"{parts}, stratified by label, seed {seed}"


def _divide(
    result: np.ndarray[Any, Any],
    chosen: np.ndarray[Any, Any],
    labels: np.ndarray[Any, Any],
    keys: np.ndarray[Any, Any],
    proportions: dict[str, float],
    seed: int,
) -> None:
    """Divide the chosen rows, in place.

    Every label gets its share rounded up or down, and the rounding is carried over to the next
    label, so that the whole has the proportions asked for to one row. Train gets the first row of
    a label that has only one.
    """
    rows = np.flatnonzero(chosen)
    group, first = equal_keys.grouped(keys[rows])
    leaders = rows[first]
    rng = np.random.default_rng(seed)
    shares = [proportions.get(name, 0.0) for name in SPLITS]
    of_group = np.empty(len(leaders), dtype=np.int8)
    owed = np.zeros(len(SPLITS))
    for label in np.unique(labels[leaders]):
        # In the order of the file, so that the result depends on nothing but rows and seed.
        members = np.flatnonzero(labels[leaders] == label)
        members = members[np.argsort(leaders[members])]
        rng.shuffle(members)
        owed += np.array(shares) * len(members)
        counts = np.floor(owed).astype(int).clip(0)  # train may be ahead by many labels of one row
        while counts.sum() < len(members):
            counts[int(np.argmax(owed - counts))] += 1
        while counts.sum() > len(members):  # what earlier labels could not take
            counts[int(np.argmax(counts))] -= 1
        train = SPLITS.index(TRAIN)
        if shares[train] and not counts[train]:
            counts[int(np.argmax(counts))] -= 1
            counts[train] += 1
        owed -= counts
        of_group[members] = np.repeat(np.arange(len(SPLITS), dtype=np.int8), counts)
    result[rows] = of_group[group]
