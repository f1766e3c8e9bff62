"""Answers word by word, against counting by hand and against drawing rows anew."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from training.engine import spans
from training.engine.detectors.accuracy import Accuracy
from training.engine.detectors.calibration import Believed, Calibration
from training.engine.detectors.estimated_accuracy import Confidences, Estimate
from training.engine.detectors.tallies import Tally
from training.engine.detectors.whose_fault import Faults
from training.engine.watching import privacy
from training.engine.watching.tagging import Words, probabilities

LABELS = ["B-PER", "I-PER", "O"]
SAID = ["O B-PER I-PER", "O O", None, "B-PER", "B-NEW O"]
TRUE = ["O B-PER O", "O", "O", "O", "B-NEW O"]
TAUGHT = ["O B-PER I-PER", None, None, "B-PER", "O O"]


def words(chances: object = None) -> Words:
    return Words.of(SAID, TRUE, TAUGHT, LABELS, chances)


def rows_of(seed: int, rows: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Right words and words of rows whose words go wrong together, and more often in long ones."""
    chance = np.random.default_rng(seed)
    many = chance.integers(3, 30, rows)
    own = chance.beta(4 * share, 4 * (1 - share), rows)
    return chance.binomial(many, own).astype(float), many.astype(float)


def test_words_are_compared_where_both_have_one_for_each() -> None:
    found = words()
    assert found.names == (*LABELS, "B-NEW")
    same, known = found.alike(found.said, found.truth)
    assert known.tolist() == [3, 0, 0, 1, 2]
    assert same.tolist() == [2, 0, 0, 0, 2]
    assert found.misfit.tolist() == [False, True, False, False, False]
    both, either = found.alike_spans(found.said, found.truth)
    # (B-PER I-PER) for (B-PER); a name that is none; a span that is in both
    assert both.tolist() == [0, 0, 0, 0, 2]
    assert either.tolist() == [2, 0, 0, 1, 2]
    numbers = {name: at for at, name in enumerate(found.names)}
    one, two = (
        np.array([numbers[tag] for at in (0, 3, 4) for tag in (side[at] or "").split(" ")])
        for side in (SAID, TRUE)
    )
    scored = spans.score(one, two, np.array([0, 3, 4]), found.names)
    assert both.sum() / either.sum() == pytest.approx(scored["span_f1"])


def test_signals_are_of_rows() -> None:
    signals = words().counted(None)
    assert signals["prediction.B-PER"][1] == pytest.approx([1 / 3, 0, np.nan, 1, 0], nan_ok=True)
    assert signals["prediction.O"][1] == pytest.approx([1 / 3, 1, np.nan, 0, 0.5], nan_ok=True)
    assert signals["answered.tagged"][1] == pytest.approx([2 / 3, 0, np.nan, 1, 0.5], nan_ok=True)
    assert signals["answered.spans"][1] == pytest.approx([1, 0, np.nan, 1, 1], nan_ok=True)
    assert signals["answered.other_labels"][1] == ["(none)", "(none)", None, "(none)", "B-NEW"]
    assert words().named() == {"B-PER": 2, "I-PER": 1, "O": 4, "B-NEW": 1}
    plain = Words.of(["noun verb"], [None], [None], ["noun", "verb"])
    assert set(plain.counted(None)) == {
        "prediction.noun", "prediction.verb", "answered.other_labels",
    }  # fmt: skip
    everything = np.ones(1, dtype=bool)
    assert set(plain.tallies(everything, everything, np.ones(1))) == {"accuracy", "agreement"}


def test_probabilities_are_of_words_and_sureness_is_of_rows() -> None:
    told = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])
    found = words(probabilities([told, None, None, told[:1], told[:1]]))
    assert found.chances is not None
    assert np.isnan(found.chances[[3, 4, 6, 7]]).all()  # rows of two words have two of them
    assert found.sureness().top == pytest.approx([0.7, np.nan, np.nan, 0.7, np.nan], nan_ok=True)
    believed = found.believed(np.ones(5, dtype=bool))
    assert sum(believed.rows) == 4
    assert sum(believed.right) == 2
    assert found.faults(np.ones(5, dtype=bool)).counts == {
        "both_right": 3, "student_wrong": 0, "teacher_wrong": 1, "both_wrong": 2,
    }  # fmt: skip


def test_the_interval_of_words_is_as_wide_as_drawing_rows_anew_says() -> None:
    right, many = rows_of(0, 400, 0.8)
    tally = Tally.of_units(right, many)
    drawn = np.random.default_rng(1).integers(0, 400, (2000, 400))
    spread = (right[drawn].sum(axis=1) / many[drawn].sum(axis=1)).std()
    told = (tally.share * (1 - tally.share) / tally.effective) ** 0.5
    assert told == pytest.approx(spread, rel=0.06)
    assert tally.effective < 0.5 * many.sum()
    # As wide where a row stands for others: those asked about by chance, in part.
    weights = np.random.default_rng(2).choice([1.0, 4.0], 400)
    tally = Tally.of_units(right, many, weights)
    above, below = (weights * one for one in (right, many))
    spread = (above[drawn].sum(axis=1) / below[drawn].sum(axis=1)).std()
    told = (tally.share * (1 - tally.share) / tally.effective) ** 0.5
    assert told == pytest.approx(spread, rel=0.08)


def test_sums_of_parts_are_those_of_the_whole() -> None:
    right, many = rows_of(3, 100, 0.7)
    halves = [Tally.of_units(right[at::2], many[at::2]) for at in (0, 1)]
    whole = Tally.of_units(right, many)
    assert Tally().merge(halves[0]).merge(halves[1]).effective == pytest.approx(whole.effective)
    assert Tally.from_dict(whole.as_dict()) == whole
    row = np.repeat(np.arange(100), many.astype(int))
    chance = np.random.default_rng(4)
    sure, good = chance.uniform(size=len(row)), chance.integers(0, 2, len(row))
    taught = chance.integers(0, 2, len(row))
    first = row < 50
    made: list[Any] = [
        lambda some: Believed.of(sure[some], good[some], row[some]),
        lambda some: Faults.of(good[some], taught[some], row[some]),
        lambda some: Estimate.of_units(sure[some], row[some]),
    ]
    for of in made:
        parts, all_ = of(first).merge(of(~first)), of(row >= 0)
        kept = type(all_).from_dict(parts.as_dict()).as_dict()
        for name, value in all_.as_dict().items():
            assert np.allclose(kept[name], value), name


def test_words_that_all_hold_tell_no_more_than_their_rows() -> None:
    _, many = rows_of(5, 60, 0.5)
    assert Tally.of_units(many, many).effective == pytest.approx(
        many.sum() ** 2 / np.square(many).sum()
    )
    assert Tally.of_units([], []).effective == 0


def test_tests_ring_no_more_often_than_they_promise_where_words_go_wrong_together() -> None:
    """Two windows of one kind: at .05 about one in twenty, where words counted as independent ring
    in one of three."""
    rang = {"accuracy": 0, "words": 0, "calibration": 0, "estimate": 0, "faults": 0}
    for seed in range(200):
        sides = [rows_of(2 * seed + at, 150, 0.8) for at in (0, 1)]
        one, two = (Tally.of_units(*side) for side in sides)
        rang["accuracy"] += (Accuracy().score(one, two).p or 0) < 0.05
        one, two = (Tally.counted(int(many.sum()), int(right.sum())) for right, many in sides)
        rang["words"] += (Accuracy().score(one, two).p or 0) < 0.05
        believed, faults, told = [], [], []
        for right, many in sides:
            row = np.repeat(np.arange(len(many)), many.astype(int))
            good = np.concatenate([
                np.arange(int(n)) < int(x) for x, n in zip(right, many, strict=True)
            ])  # fmt: skip
            believed.append(Believed.of(np.full(len(row), 0.8), good, row))
            faults.append(Faults.of(good, np.ones(len(row)), row).without("student_wrong"))
            told.append(Estimate.of_units(np.where(good, 0.9, 0.3), row))
        rang["calibration"] += (Calibration().score(*believed).p or 0) < 0.05
        rang["faults"] += (Accuracy().score(*faults).p or 0) < 0.05
        apart = told[0].accuracy - told[1].accuracy
        deviation = sum(each.variance / each.rows for each in told) ** 0.5
        rang["estimate"] += apart / deviation > 1.645
    assert rang["words"] > 40
    for name in ("accuracy", "calibration", "faults", "estimate"):
        assert rang[name] <= 18, rang  # of 10 that are promised


def test_what_is_redacted_leaves_as_many_words() -> None:
    for text in (
        "call +49 170 1234567 or (030) 123 45 67 now",
        "IBAN DE89 3704 0044 0532 0130 00 of ada@example.org on 2026-11-27",
        "card 4111 1111 1111 1111 at https://example.org/x?token=abc , 123456789 more",
        "nothing here",
    ):
        told = privacy.redacted_words(text)
        assert told.count(" ") == text.count(" ")
        assert "1234567" not in told
        assert "1111" not in told
        assert "0532" not in told
        assert "ada" not in told
    assert privacy.redacted_words("nothing here 12") == "nothing here 12"


def test_the_curve_of_words_estimates_their_accuracy() -> None:
    chance = np.random.default_rng(0)
    said, true, told = [], [], []
    for _ in range(300):
        many = int(chance.integers(1, 8))
        sure = chance.uniform(0.5, 1.0, many)
        good = chance.uniform(size=many) < sure
        said.append(" ".join(["O"] * many))
        true.append(" ".join("O" if one else "B-PER" for one in good))
        told.append(np.stack([1 - sure, 0 * sure, sure], axis=1))
    found = Words.of(said, true, [None] * 300, LABELS, probabilities(told))
    assert isinstance(found.chances, np.ndarray)
    curve = Confidences.fit(found.chances, found.known_truth)
    same, known = found.alike(found.said, found.truth)
    assert found.estimate(curve).accuracy == pytest.approx(same.sum() / known.sum(), abs=0.01)
    assert pa.types.is_list(probabilities(told).type)
