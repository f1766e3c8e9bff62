"""Confident learning: which labels are probably wrong, by probabilities of a model that has not
seen them (Northcutt, Jiang, Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels,
JAIR 2021), and a quick model that gives such probabilities.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TypeAlias

from distillhub.lib.later import Later, np

sparse = Later("scipy.sparse")

Rows: TypeAlias = "np.ndarray[Any, Any]"

SURER = 4.0  # times as probable as the given label must another one be
FOLDS = 3
STEPS, DENSE_STEPS = 24, 80  # of words, and of few numbers, which take more and cost less
BOLD = 16.0  # times the size that is safe: probabilities curve far less than they might
WORSE = 1.1  # times the least loss: then the size was too bold
DECAY = 1e-5  # of weights
MOST_FEATURES = 4096
FEWEST_TEXTS = 2  # that a word stands in
UNLIKELY = 1e-9
MODEST = 40.0  # scores whose exponentials single precision holds, together too

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
    """`[features, classes]`: weights of a multinomial logistic regression, after some steps of
    accelerated gradient descent (Beck, Teboulle: FISTA, 2009), whose size follows from the largest
    eigenvalue and is halved where it was too bold."""
    rows = np.arange(len(given))
    turned = features.T.tocsr() if hasattr(features, "tocsr") else features.T
    size = BOLD / max(_steepness(features, turned), 1e-9)
    weights = np.zeros((features.shape[1], classes), dtype=np.float32)
    before, pace, least = weights, 1.0, np.inf
    left, safe = STEPS if hasattr(features, "tocsr") else DENSE_STEPS, size / BOLD
    while left:
        following = (1 + np.sqrt(1 + 4 * pace * pace)) / 2
        ahead = weights + np.float32((pace - 1) / following) * (weights - before)
        wrong = _softmax(features @ ahead)
        loss = float(-np.log(np.maximum(wrong[rows, given], UNLIKELY)).mean())
        beat()
        if (
            loss > WORSE * least and size > safe
        ):  # too bold: from here with half the size, and from rest
            size, pace, weights, least = size / 2, 1.0, before, np.inf
            continue
        left -= 1
        wrong[rows, given] -= 1
        slope = (turned @ wrong) / np.float32(len(given)) + np.float32(DECAY) * ahead
        before, weights, pace = weights, ahead - np.float32(size) * slope, following
        least = min(least, loss)
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
    """In place."""
    if not -MODEST < scores.min() <= scores.max() < MODEST:  # else nothing overflows, or vanishes
        scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores *= np.reciprocal(scores @ np.ones(scores.shape[1], dtype=scores.dtype))[:, None]
    return scores


def of_texts(texts: list[str]) -> Any:
    """`[rows, features]` sparse: TF-IDF of the commonest words (logarithmic in how often a word
    stands in a text, rows of length 1; Salton, Buckley 1988)."""
    known: defaultdict[str, int] = defaultdict()
    known.default_factory = known.__len__
    codes, lengths_of = array("q"), array("q")
    for text in texts:
        words = _WORD.findall(text.lower())
        codes.extend(map(known.__getitem__, words))
        lengths_of.append(len(words))
    told = np.frombuffer(codes, dtype=np.int64)
    rows = np.repeat(np.arange(len(texts)), np.frombuffer(lengths_of, dtype=np.int64))
    pairs, many = np.unique(rows * max(1, len(known)) + told, return_counts=True)
    rows, told = np.divmod(pairs, max(1, len(known)))
    often = np.bincount(told, minlength=len(known))
    kept = np.argsort(-often, kind="stable")[:MOST_FEATURES]  # of equal ones the first met
    kept = kept[often[kept] >= FEWEST_TEXTS]
    place = np.full(len(known), -1)
    place[kept] = np.arange(len(kept))
    rarity = np.log((1 + len(texts)) / (1 + often)) + 1
    here = place[told] >= 0
    rows, told, many = rows[here], told[here], many[here]
    weighed = ((1 + np.log(many)) * rarity[told]).astype(np.float32)
    shape = (len(texts), max(1, len(kept)))
    found = sparse.csr_matrix((weighed, (rows, place[told])), shape)
    lengths = np.sqrt(np.asarray(found.multiply(found).sum(axis=1)).ravel())
    return sparse.diags((1 / np.maximum(lengths, 1e-9)).astype(np.float32)) @ found


def of_numbers(values: Rows) -> Rows:
    """`[rows, features]`: each feature with mean 0 and deviation 1, and a constant."""
    values = values.astype(np.float32)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    found: Rows = np.concatenate([values, np.ones((len(values), 1), dtype=np.float32)], axis=1)
    return found
