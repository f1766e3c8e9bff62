"""Answers that are several labels, against what counting every set says."""

import itertools

import numpy as np
import pytest

from training.engine.detectors.confidence import Sureness
from training.engine.watching import label_sets

LABELS = ["a", "b", "c"]
SETS = [set(some) for size in range(4) for some in itertools.combinations(LABELS, size)]


def joint(chances: list[float]) -> list[float]:
    """How likely each of all sets is, were labels independent."""
    return [
        float(
            np.prod([p if one in some else 1 - p for one, p in zip(LABELS, chances, strict=True)])
        )
        for some in SETS
    ]


def test_sureness_of_a_set_is_that_of_all_sets_together() -> None:
    chances = np.random.default_rng(0).uniform(size=(20, 3))
    found = Sureness.of_sets(chances)
    for row, entropy, top in zip(chances.tolist(), found.entropy, found.top, strict=True):
        every = joint(row)
        assert top == pytest.approx(max(every))
        assert entropy * 3 == pytest.approx(-sum(p * np.log(p) for p in every))
    odd = Sureness.of_sets([[0.0, 1.0, 0.0], [np.nan, 0.5, 0.5], [2.0, 0.1, 0.1]])
    assert odd.entropy[0] == 0
    assert odd.top[0] == 1
    assert np.isnan(odd.entropy[1:]).all()
    assert np.isnan(odd.top[1:]).all()


def test_how_likely_exactly_these_labels_are() -> None:
    chances = [0.9, 0.2, 0.6]
    every = joint(chances)
    said = ["|".join(sorted(some)) for some in SETS]
    told = label_sets.sure(said, LABELS, np.array([chances] * len(SETS)))
    assert told == pytest.approx(every)
    assert np.isnan(label_sets.sure(["d", None], LABELS, np.array([chances] * 2))).all()


def test_two_sets_are_alike_by_what_they_share() -> None:
    found = label_sets.alike(["a|b", "", "a", None], ["b|c", "", "", "a"])
    assert found[:3] == pytest.approx([1 / 3, 1, 0])
    assert np.isnan(found[3])


def test_the_most_frequent_labels_have_a_signal_of_their_own() -> None:
    many = [f"l{place:02}" for place in range(60)]
    said = ["|".join(many[:45]), "", "l50", None]
    found = label_sets.counted(said, many, None)
    named = [one for one in found if one.startswith(label_sets.OF_LABEL)]
    assert named == [f"prediction.l{place:02}" for place in range(40)]
    assert found["prediction.l00"] == ("categories", ["yes", "no", "no", None])
    assert found["answered.other_labels"] == ("categories", ["l40", "(none)", "l50", None])
    assert found["answered.labels"][1][:3].tolist() == [45, 0, 1]
