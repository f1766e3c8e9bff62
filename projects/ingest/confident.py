"""Confident learning: which labels are probably wrong, by probabilities of a model that has not
seen them (Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels,
JAIR 2021), and a quick model that gives such probabilities.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from distillhub.lib.later import Later, np

sparse = Later("scipy.sparse")

Rows: TypeAlias = "np.ndarray[Any, Any]"

SURER = 4.0  # times as probable as the given label must another one be
FOLDS = 3
STEPS = 50
DECAY = 1e-5  # of weights
MOST_FEATURES = 4096
FEWEST_TEXTS = 2  # that a word stands in
UNLIKELY = 1e-9

_WORD = re.compile(r"\w+")


def suspected(probabilities: Rows, given: Rows) -> tuple[Rows, Rows]:
    """(places, labels): rows whose label is probably another one, and which.

    `probabilities` [rows, classes] of a model that did not learn from the row; `given` [rows] the
    labels. The confident joint of section 3.1: a row counts for class j when its probability of j
    is at least what rows labelled j have on average; of several the most probable. Those off the
    diagonal are suspected, here only if j is SURER times as probable as what was given.
    """
    classes = probabilities.shape[1]
    rows = np.arange(len(given))
    own = probabilities[rows, given]
    many = np.bincount(given, minlength=classes)
    average = np.bincount(given, weights=own, minlength=classes) / np.maximum(many, 1)
    average[many == 0] = np.inf
    sure = np.where(probabilities >= average, probabilities, -1.0)
    best = sure.argmax(axis=1)
    chosen = sure[rows, best]
    off = (chosen > 0) & (best != given) & (chosen >= SURER * np.maximum(own, UNLIKELY))
    places = np.flatnonzero(off)
    return places, best[places]


def out_of_fold(features: Any, given: Rows, together: Rows, beat: Callable[[], None]) -> Rows:
    """`[rows, classes]`: probabilities by models that did not see the row, nor any that is near it.

    `features` [rows, features], dense or sparse; `together` [rows]: equal for rows that must be in
    one fold.
    """
    group = np.unique(together, return_inverse=True)[1]
    fold = np.random.default_rng(0).integers(0, FOLDS, int(group.max()) + 1)[group]
    classes = int(given.max()) + 1
    found = np.zeros((len(given), classes), dtype=np.float32)
    for one in range(FOLDS):
        out = fold == one
        if out.any() and not out.all():
            weights = logistic(features[~out], given[~out], classes, beat)
            found[out] = _softmax(features[out] @ weights)
    return found


def logistic(features: Any, given: Rows, classes: int, beat: Callable[[], None]) -> Rows:
    """`[features, classes]`: weights of a multinomial logistic regression, after STEPS of
    accelerated gradient descent (Beck, Teboulle: FISTA, 2009), whose size follows from the largest
    eigenvalue."""
    rows = np.arange(len(given))
    turned = features.T.tocsr() if hasattr(features, "tocsr") else features.T
    size = 1.0 / max(_steepness(features, turned), 1e-9)
    weights = np.zeros((features.shape[1], classes), dtype=np.float32)
    before, pace = weights, 1.0
    for _ in range(STEPS):
        following = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
        ahead = weights + np.float32((pace - 1) / following) * (weights - before)
        wrong = _softmax(features @ ahead)
        wrong[rows, given] -= 1
        slope = (turned @ wrong) / np.float32(len(given)) + np.float32(DECAY) * ahead
        before, weights, pace = weights, ahead - np.float32(size) * slope, following
        beat()
    return weights


def _steepness(features: Any, turned: Any) -> float:
    """At least about the curvature of the mean loss: half of the largest eigenvalue of features'
    mean product (Böhning 1992), by ten steps of the power method."""
    one = np.random.default_rng(0).random(features.shape[1]).astype(np.float32)
    value = 0.0
    for _ in range(10):
        one = turned @ (features @ one) / features.shape[0]
        value = float(np.linalg.norm(one))
        if not value:
            return 0.0
        one /= value
    return 0.5 * value


def _softmax(scores: Rows) -> Rows:
    scores = scores - scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


def of_texts(texts: list[str]) -> Any:
    """`[rows, features]` sparse: TF-IDF of the commonest words (logarithmic in how often a word
    stands in a text, rows of length 1; Salton, Buckley 1988)."""
    counts: list[dict[str, int]] = []
    often: dict[str, int] = {}
    for text in texts:
        here: dict[str, int] = {}
        for word in _WORD.findall(text.lower()):
            here[word] = here.get(word, 0) + 1
        counts.append(here)
        for word in here:
            often[word] = often.get(word, 0) + 1
    kept = sorted((-many, word) for word, many in often.items() if many >= FEWEST_TEXTS)
    place = {word: index for index, (_, word) in enumerate(kept[:MOST_FEATURES])}
    rarity = (
        np.log((1 + len(texts)) / (1 - np.array([many for many, _ in kept[:MOST_FEATURES]]))) + 1
    )
    rows, columns, values = [], [], []
    for row, here in enumerate(counts):
        for word, many in here.items():
            if (column := place.get(word)) is not None:
                rows.append(row)
                columns.append(column)
                values.append(many)
    weighed = (1 + np.log(np.array(values, dtype=np.float32))) * rarity[columns] if values else []
    found = sparse.csr_matrix(
        (np.asarray(weighed, dtype=np.float32), (rows, columns)), (len(texts), max(1, len(place)))
    )
    lengths = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    return sparse.diags((1 / np.maximum(lengths, 1e-9)).astype(np.float32)) @ found


def of_numbers(values: Rows) -> Rows:
    """`[rows, features]`: each feature with mean 0 and deviation 1, and a constant."""
    values = values.astype(np.float32)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    found: Rows = np.concatenate([values, np.ones((len(values), 1), dtype=np.float32)], axis=1)
    return found
