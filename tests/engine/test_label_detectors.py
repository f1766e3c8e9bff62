"""Agreement, accuracy, calibration and fault: what is said of rows that are right or wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.engine.oracles import record_estimates
from training.engine import reliability
from training.engine.detectors import DETECTORS, Score, WindowDetector, tallies
from training.engine.detectors.calibration import Believed
from training.engine.detectors.confidence import Sureness
from training.engine.detectors.estimated_accuracy import Confidences, Estimate
from training.engine.detectors.tallies import Tally
from training.engine.detectors.whose_fault import ADVICE, Faults
from training.engine.sketches import fit
from training.engine.teacher_sampling import is_asked, place, weight

JSON = dict[str, Any]
Maker = Callable[[np.random.Generator, int, float], Any]


def probabilities(chance: np.random.Generator, rows: int, worse: float) -> Any:
    logits = chance.normal(0, 2 - worse, (rows, 4))
    raised = np.exp(logits)
    return raised / raised.sum(axis=1, keepdims=True)


def believed(chance: np.random.Generator, rows: int, worse: float) -> Believed:
    sure = chance.uniform(0.4, 1.0, rows)
    return Believed.of(sure, chance.random(rows) < sure - worse * 0.3)


def faults(chance: np.random.Generator, rows: int, worse: float) -> Faults:
    shares = [0.85 - 0.1 * worse, 0.06 + 0.1 * worse, 0.03, 0.06]
    return Faults(*chance.multinomial(rows, shares).tolist())


# What a window of so many rows is to each detector; 1 is a world that got worse, 0 the same one.
WINDOWS: dict[str, Maker] = {
    "agreement": lambda chance, rows, worse: Tally.of(chance.random(rows) < 0.95 - 0.08 * worse),
    "accuracy": lambda chance, rows, worse: Tally.of(chance.random(rows) < 0.88 - 0.1 * worse),
    "calibration": believed,
    "estimated_accuracy": lambda chance, rows, worse: Estimate.of(
        chance.beta(9 - 2 * worse, 1, rows)
    ),
    "confidence": lambda chance, rows, worse: Sureness.of(probabilities(chance, rows, worse)),
    "whose_fault": faults,
    "teacher_drift": lambda chance, rows, worse: Tally.of(chance.random(rows) < 0.97 - 0.1 * worse),
}
ADDED = [key for key in WINDOWS if key != "confidence"]


def detector(key: str) -> WindowDetector:
    made = DETECTORS[key]()
    assert isinstance(made, WindowDetector)
    return made


@pytest.mark.parametrize("key", WINDOWS)
def test_without_drift_p_is_small_as_rarely_as_it_says(key: str) -> None:
    chance = np.random.default_rng(1)
    asked = detector(key)
    scores = [
        asked.score(WINDOWS[key](chance, 3000, 0), WINDOWS[key](chance, 800, 0)) for _ in range(200)
    ]
    ps = np.array([one.p for one in scores])
    effects = np.array([one.effect for one in scores])
    for level in (0.05, 0.2, 0.5):
        assert (ps <= level).mean() <= level + 3 * np.sqrt(level * (1 - level) / len(ps))
    assert (ps <= 0.5).mean() > 0.15  # nor is it always 1
    assert np.median(effects) < 0.02


@pytest.mark.parametrize("key", WINDOWS)
def test_what_got_worse_is_found_with_its_effect_and_what_got_better_is_not(key: str) -> None:
    chance = np.random.default_rng(2)
    asked = detector(key)
    reference = WINDOWS[key](chance, 5000, 0)
    worse = asked.score(reference, WINDOWS[key](chance, 2000, 1))
    assert worse.p is not None
    assert worse.p < 0.001
    assert worse.effect is not None
    assert worse.effect > 0.02
    assert json.loads(json.dumps(worse.as_dict(), allow_nan=False)) == worse.as_dict()
    if key not in ("calibration", "confidence"):
        better = asked.score(WINDOWS[key](chance, 5000, 1), WINDOWS[key](chance, 2000, 0))
        assert better.p is not None
        assert better.p > 0.5
        assert better.effect == 0
        assert worse.limit is not None
        assert worse.value is not None
        assert better.value is not None
        assert better.limit is not None
        assert worse.value > worse.limit
        assert better.value < better.limit


@pytest.mark.parametrize("key", ADDED)
def test_windows_are_added_and_kept_as_json(key: str) -> None:
    chance = np.random.default_rng(3)
    one, two, three = (WINDOWS[key](chance, rows, 0) for rows in (100, 1, 700))
    kind = type(one)
    empty = kind()
    assert one.merge(empty) == empty.merge(one) == one
    left, right = one.merge(two).merge(three), one.merge(two.merge(three))
    assert [*map(str, left.as_dict())] == [*map(str, right.as_dict())]
    for name, value in left.as_dict().items():
        assert np.allclose(value, right.as_dict()[name])
    assert kind.from_dict(json.loads(json.dumps(left.as_dict(), allow_nan=False))) == left


@pytest.mark.parametrize("key", WINDOWS)
def test_nothing_to_compare_is_no_data_with_a_sentence(key: str) -> None:
    chance = np.random.default_rng(4)
    full, empty = WINDOWS[key](chance, 50, 0), WINDOWS[key](chance, 0, 0)
    for reference, live in ((full, empty), (empty, full), (empty, empty)):
        score = detector(key).score(reference, live)
        assert not score.known
        assert score.p is None
        assert score.said.endswith(".")
    for rows in (1, 2, 7):
        assert isinstance(detector(key).score(full, WINDOWS[key](chance, rows, 1)), Score)


def test_agreement_against_a_promise_is_the_binomial_test() -> None:
    live = Tally.counted(450, 405)
    score = detector("agreement").score(0.95, live)
    told = stats.binomtest(405, 450, 0.95, alternative="less").pvalue
    assert score.p == pytest.approx(told)
    assert score.limit == pytest.approx(1 - stats.binom.ppf(0.001, 450, 0.95) / 450)
    assert score.facts["answers_needed"] == 448
    assert score.facts["interval"] == pytest.approx([0.86881, 0.92442], abs=1e-5)
    with pytest.raises(ValueError, match="from 0 to 1"):
        detector("agreement").score(95.0, live)


def test_agreement_against_counted_rows_is_fishers_exact_test() -> None:
    table = [[180, 20], [965, 35]]
    score = detector("agreement").score(Tally.counted(1000, 965), Tally.counted(200, 180))
    assert score.p == pytest.approx(stats.fisher_exact(table, alternative="less").pvalue)


def test_how_many_answers_of_the_teacher_a_drop_takes() -> None:
    assert tallies.rows_needed(0.95, 0.90) == 448
    assert tallies.rows_needed(0.95, 0.93) == pytest.approx(2500, abs=10)
    assert tallies.rows_needed(0.95, 0.95) is None
    chance = np.random.default_rng(5)
    agreeing = chance.binomial(448, 0.90, 2000)
    seen = [tallies.fewer(0.95, Tally.counted(448, int(one))) <= 0.001 for one in agreeing]
    assert np.mean(seen) == pytest.approx(0.85, abs=0.02)  # the exact test errs to the safe side


def test_rows_are_chosen_by_their_id_alone_and_a_larger_share_keeps_them() -> None:
    ids = [f"row-{number}" for number in range(20_000)]
    few, many = ({one for one in ids if is_asked(one, share)} for share in (0.05, 0.2))
    assert few < many
    assert len(many) / len(ids) == pytest.approx(0.2, abs=0.01)
    assert {one for one in ids if is_asked(one, 0.2, "other")} != many
    assert place("a", "b") == 0.7842640106510619  # the same on every machine, for good
    spread = stats.kstest([place(one) for one in ids], "uniform")
    assert spread.pvalue > 0.01
    with pytest.raises(ValueError, match="above 0"):
        weight(0.0)


def test_rows_asked_more_often_are_weighed_so_that_the_share_is_the_traffics() -> None:
    chance = np.random.default_rng(6)
    found, covered = [], 0
    for turn in range(50):
        rare = np.arange(4000) < 400  # a slice that is asked ten times as often
        agrees = chance.random(4000) < np.where(rare, 0.6, 0.95)
        share = np.where(rare, 0.3, 0.03)
        asked = np.array([place(f"{turn}/{row}") for row in range(4000)]) < share
        tally = Tally.of(agrees[asked], 1 / share[asked])
        found.append(tally.share - agrees.mean())
        covered += tally.interval[0] <= agrees.mean() <= tally.interval[1]
    assert np.mean(found) == pytest.approx(0.0, abs=0.01)
    assert covered >= 45
    assert tally.effective < tally.rows
    even = Tally.of(agrees[:500], np.full(500, 1 / 0.03))
    assert even.whole == Tally.of(agrees[:500]).whole == (500, int(agrees[:500].sum()))


def test_the_calibration_error_of_counts_is_that_of_the_rows() -> None:
    chance = np.random.default_rng(7)
    sure = chance.uniform(0.2, 1.0, 900)
    right = (chance.random(900) < sure**2).astype(float)
    told, _ = reliability.diagram(sure, right)
    assert Believed.of(sure, right).error == pytest.approx(told)
    parts = Believed.of(sure[:400], right[:400]).merge(Believed.of(sure[400:], right[400:]))
    assert parts.error == pytest.approx(told)


def spread(counts: list[list[int]]) -> tuple[Any, Any]:
    """Probabilities `[rows, 2]` and the other column of the counts, `[rows]`."""
    table = np.array(counts)
    rows = np.repeat(np.arange(len(table)), table[:, 2])
    share = table[rows, 0] / 100
    return np.column_stack([1 - share, share]), table[rows, 1]


def test_the_estimated_accuracy_is_the_one_that_nannyml_published() -> None:
    recorded = json.loads(
        Path(record_estimates.__file__).with_name("recorded_estimates.json").read_text()
    )
    curve = Confidences.fit(*spread(recorded["reference"]))
    curve = Confidences.from_dict(json.loads(json.dumps(curve.as_dict())))
    found = [Estimate.of(curve.right(*spread(one))).accuracy for one in recorded["windows"]]
    assert np.abs(np.array(found) - recorded["accuracy"]).max() < 5e-7


def test_estimated_accuracy_holds_under_label_shift_and_not_where_the_world_is_new() -> None:
    chance = np.random.default_rng(8)

    def drawn(shares: list[float], noise: float = 1.0) -> tuple[Any, Any]:
        labels = chance.choice(3, 6000, p=shares)
        logits = chance.normal(0, 1.0, (6000, 3)) + 2.0 * noise * np.eye(3)[labels]
        raised = np.exp(2 * logits)
        return raised / raised.sum(axis=1, keepdims=True), labels

    even, labels = drawn([1 / 3, 1 / 3, 1 / 3])
    curve = Confidences.fit(even, labels)
    told, truth = drawn([0.4, 0.3, 0.3])
    shifted = Estimate.of(curve.right(told)).accuracy
    assert shifted == pytest.approx((told.argmax(1) == truth).mean(), abs=0.02)
    foreign, truth = drawn([1 / 3, 1 / 3, 1 / 3], noise=0.0)
    real = (foreign.argmax(1) == truth).mean()
    assert Estimate.of(curve.right(foreign)).accuracy > real + 0.2
    assert (
        "never learned"
        in detector("estimated_accuracy")
        .score(Estimate.of(curve.right(even)), Estimate.of(curve.right(foreign)))
        .facts["caveat"]
    )


def test_rows_without_label_or_probabilities_are_passed_over() -> None:
    told = np.array([[0.9, 0.1], [np.nan, 0.2], [0.3, 0.7], [0.2, 0.8]])
    curve = Confidences.fit(told, np.array([0, 1, -1, 1]))
    assert np.isnan(curve.right(told)).tolist() == [False, True, False, False]
    assert Estimate.of(curve.right(told)).rows == 3
    with pytest.raises(ValueError, match="label"):
        Confidences.fit(told, np.full(4, -1))
    assert Tally.of([1, 0, np.nan, 1]) == Tally.counted(3, 2)
    assert Faults.of([1, 1, 0, 0, np.nan, 1], [1, 0, 1, 0, 1, np.nan]) == Faults(1, 1, 1, 1)
    assert np.isnan(Sureness.of(told).top).tolist() == [False, True, False, False]


def test_who_is_wrong_more_often_says_what_to_do() -> None:
    usual = Faults(8500, 600, 300, 600)
    asked = detector("whose_fault")
    student = asked.score(usual, Faults(760, 150, 30, 60)).facts
    assert (student["kind"], student["grew"]) == ("student_wrong", ["student_wrong"])
    assert student["advice"] == [ADVICE["student_wrong"]]
    world = asked.score(usual, Faults(760, 60, 30, 150)).facts
    assert world["grew"] == ["both_wrong"]
    both = asked.score(usual, Faults(620, 150, 30, 200)).facts
    assert both["grew"] == ["student_wrong", "both_wrong"]
    assert len(both["advice"]) == 2
    teacher = asked.score(usual, Faults(760, 60, 120, 60))
    assert teacher.facts["grew"] == []
    assert teacher.facts["kinds"]["teacher_wrong"]["p"] < 0.001
    assert "no harm" in teacher.facts["advice"][0]


def test_confidence_is_compared_of_sketches_as_of_rows() -> None:
    chance = np.random.default_rng(9)
    usual, unsure = probabilities(chance, 3000, 0), probabilities(chance, 1000, 1)
    one, two = Sureness.of(usual), Sureness.of(unsure)
    bins = [fit("numbers", view) for view in one]
    sketched = [Sureness(*(b.sketch(v) for b, v in zip(bins, s, strict=True))) for s in (one, two)]
    of_rows = detector("confidence").score(usual, unsure)
    of_sketches = detector("confidence").score(*sketched)
    assert of_sketches.value == pytest.approx(of_rows.value, abs=0.02)
    exact = stats.ks_2samp(one.entropy, two.entropy)
    assert of_rows.facts["entropy"]["value"] == pytest.approx(exact.statistic)
    assert of_rows.facts["entropy"]["p"] == pytest.approx(exact.pvalue)
