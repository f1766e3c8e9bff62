"""Detectors of windows: what they say of no drift and of drift, and that others say the same."""

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tests.engine.oracles import record_windows
from training.engine import corrections, options, sketches
from training.engine.detectors import (
    DETECTORS,
    WindowDetector,
    chance,
    classifier,
    kolmogorov_smirnov,
    splits,
)
from training.engine.sketches import NumberBins

RECORDED: dict[str, Any] = json.loads(
    Path(record_windows.__file__).with_name("recorded_windows.json").read_text()
)
#: Every detector with each kind of values that it watches, of sketches and of rows.
CASES = [
    (one.key, kind, form)
    for one in DETECTORS
    if issubclass(one, WindowDetector)
    for kind in ("numbers", "categories", "embeddings")
    if kind in one.watches
    for form in ("sketches", "rows")
    if form in one.takes
]


def build(key: str, **values: Any) -> Any:
    kind = DETECTORS[key]
    return kind(options.build(kind.Options, values))


def draw(kind: str, many: int, seed: int, shift: float = 0.0) -> Any:
    """Rows that have moved by `shift`: deviations of a number, or as much of the likelier names."""
    drawn = np.random.default_rng(seed)
    if kind == "numbers":
        return drawn.normal(shift, 1, many)
    if kind == "categories":
        shares = np.array([0.4, 0.3, 0.2, 0.1]) + shift * np.array([-0.3, -0.1, 0.1, 0.3])
        return drawn.choice(["a", "b", "c", "d"], many, p=shares)
    vectors = drawn.normal(size=(many, 12)) * np.linspace(1, 0.2, 12)
    vectors[:, 0] += shift
    return vectors.astype(np.float32)


def sides(kind: str, form: str, reference: Any, *lives: Any) -> list[Any]:
    if form == "rows":
        return [reference, *lives]
    bins = sketches.fit(kind, reference)
    return [bins.sketch(one) for one in (reference, *lives)]


@functools.cache
def still(kind: str, form: str, seed: int) -> list[Any]:
    """A reference and a window without drift."""
    return sides(kind, form, draw(kind, 600, seed), draw(kind, 150, 1000 + seed))


@pytest.mark.parametrize(("key", "kind", "form"), CASES)
def test_without_drift_p_is_spread_evenly_and_the_effect_is_small(
    key: str, kind: str, form: str
) -> None:
    detector = build(key, **({"permutations": 50} if key == "mmd" else {}))
    scores = [detector.score(*still(kind, form, seed)) for seed in range(24)]
    found = [score.p for score in scores if score.p is not None]
    assert len(found) == 24
    assert 0.3 < np.mean(found) < 0.9  # those of several tests in one are too careful
    assert np.mean(np.array(found) < 0.05) <= 0.17
    assert min(found) > 1e-4
    assert not any(score.value > score.limit for score in scores)
    assert np.mean([score.effect for score in scores]) < 0.07


@pytest.mark.parametrize(("key", "kind", "form"), CASES)
def test_a_shift_is_found_and_a_larger_one_has_a_larger_effect(
    key: str, kind: str, form: str
) -> None:
    detector = build(key)
    lives = [draw(kind, 800, 7, shift) for shift in (0.0, 0.5, 0.9)]
    reference, *others = sides(kind, form, draw(kind, 1500, 1), *lives)
    none, half, much = [detector.score(reference, one) for one in others]
    assert half.p is not None
    assert half.p < 1e-3
    assert half.value > half.limit
    assert none.value < none.limit
    assert none.effect < half.effect < much.effect


@pytest.mark.parametrize(("key", "kind", "form"), CASES)
def test_its_limit_and_its_p_say_the_same(key: str, kind: str, form: str) -> None:
    """Where chance is known by a formula, or by a curve: at the level of p itself, the limit is
    the value."""
    reference, live = sides(kind, form, draw(kind, 400, 2), draw(kind, 300, 3, 0.15))
    score = build(key).score(reference, live)
    assert score.p is not None
    if not 1e-9 < score.p < 0.2 or score.facts.get("exact"):
        return
    again = build(key, level=score.p).score(reference, live)
    assert again.limit == pytest.approx(score.value, rel=0.1)


@pytest.mark.parametrize(("key", "kind", "form"), CASES)
def test_the_same_windows_have_the_same_score_in_any_order_of_rows(
    key: str, kind: str, form: str
) -> None:
    reference, live = draw(kind, 300, 2), draw(kind, 200, 3, 0.3)
    detector = build(key)
    first = detector.score(*sides(kind, form, reference, live))
    again = detector.score(*sides(kind, form, reference, live))
    assert again == first
    if form == "sketches" or kind != "embeddings":
        turned = detector.score(*sides(kind, form, reference, live[::-1]))
        assert turned.value == pytest.approx(first.value, rel=1e-6)
        assert turned.p == pytest.approx(first.p, rel=1e-5)
    json.dumps(first.as_dict(), allow_nan=False)


@pytest.mark.parametrize(("key", "kind", "form"), CASES)
def test_of_nothing_it_says_that_there_are_no_data(key: str, kind: str, form: str) -> None:
    detector = build(key)
    empty = draw(kind, 30, 1)[:0]
    missing: Any = np.full_like(draw("embeddings" if kind == "embeddings" else "numbers", 30, 1),
                                np.nan)  # fmt: skip
    for reference, live in (
        (draw(kind, 50, 1), empty),
        (draw(kind, 50, 1), missing),
        (empty, draw(kind, 50, 1)),
        (empty, empty),
    ):
        score = detector.score(*sides(kind, form, reference, live))
        assert (score.value, score.p, score.effect, score.limit) == (None, None, None, None)
        assert score.said.endswith(".")
        assert not score.known


@pytest.mark.parametrize(("key", "kind", "form"), CASES)
def test_constants_that_stay_are_no_drift_and_never_raise(key: str, kind: str, form: str) -> None:
    still = np.repeat(draw(kind, 1, 1), 80, axis=0)
    score = build(key).score(*sides(kind, form, still, still[:40]))
    assert score.known
    assert score.effect == pytest.approx(0.0, abs=1e-6)
    assert score.p is None or score.p > 0.4
    json.dumps(score.as_dict(), allow_nan=False)


@pytest.mark.parametrize(("key", "kind", "form"), CASES)
def test_a_constant_that_changes_is_drift(key: str, kind: str, form: str) -> None:
    before, after = (np.repeat(draw(kind, 1, seed), 80, axis=0) for seed in (1, 12))
    assert not np.array_equal(before, after)
    score = build(key).score(*sides(kind, form, before, after))
    assert score.p is not None
    assert score.p < 1e-3
    assert score.effect > 0.1


@pytest.mark.parametrize(
    ("key", "kind"), sorted({(key, kind) for key, kind, form in CASES if form == "sketches"})
)
def test_hours_that_were_merged_score_as_their_day(key: str, kind: str) -> None:
    bins = sketches.fit(kind, draw(kind, 500, 1))
    reference, live = bins.sketch(draw(kind, 500, 1)), draw(kind, 240, 2, 0.3)
    hours = [bins.sketch(live[at : at + 10]) for at in range(0, 240, 10)]
    day = hours[0]
    for hour in hours[1:]:
        day = day.merge(hour)
    merged, whole = (build(key).score(reference, one) for one in (day, bins.sketch(live)))
    assert merged.value == pytest.approx(whole.value, rel=1e-9)
    assert merged.p == pytest.approx(whole.p, rel=1e-6)


@pytest.mark.parametrize(
    ("key", "kind"), sorted({(key, kind) for key, kind, form in CASES if form == "sketches"})
)
def test_windows_of_two_references_are_refused(key: str, kind: str) -> None:
    one, two = (sketches.fit(kind, draw(kind, 90, seed)) for seed in (1, 2))
    if one.key == two.key:
        two = sketches.fit(kind, ["z"])
    with pytest.raises(ValueError, match="two references"):
        build(key).score(one.sketch(draw(kind, 50, 3)), two.sketch(draw(kind, 50, 3)))


def binned(reference: Any, live: Any) -> list[Any]:
    """In Evidently's cells: as many as Sturges says, all equally wide."""
    edges = np.histogram_bin_edges(np.concatenate([reference, live]), bins="sturges")
    bins = NumberBins(edges[1:-1], reference.min(), reference.max(), 0.0, 1.0)
    return [bins.sketch(one) for one in (reference, live)]


@pytest.mark.parametrize("name", sorted(RECORDED["evidently"]))
def test_index_and_distance_are_evidentlys(name: str) -> None:
    kind, which = name.split(" ")
    if kind == "numbers":
        pair = binned(*record_windows.numbers()[which])
    else:
        pair = sides("categories", "sketches", *record_windows.names()[which])
    said = RECORDED["evidently"][name]
    psi = build("psi", bins=100, empty="as Evidently").score(*pair)
    assert psi.value == pytest.approx(said["psi"], rel=1e-9)
    distance = build("jensen_shannon", bins=100).score(*pair)
    natural = distance.value * math.sqrt(math.log(2))
    assert natural == pytest.approx(said["jensen_shannon"], rel=1e-9)


@pytest.mark.parametrize("which", sorted(record_windows.numbers()))
def test_tests_of_numbers_are_scipys(which: str) -> None:
    reference, live = record_windows.numbers()[which]
    exact = stats.ks_2samp(reference, live)
    of_rows = build("kolmogorov_smirnov").score(reference, live)
    assert (of_rows.value, of_rows.p) == pytest.approx((exact.statistic, exact.pvalue))
    pair = sides("numbers", "sketches", reference, live)
    of_sketches = build("kolmogorov_smirnov").score(*pair)
    assert of_sketches.value is not None
    assert of_sketches.value <= exact.statistic + 1e-12
    assert exact.statistic <= of_sketches.facts["at_most"] + 1e-12
    assert of_sketches.facts["at_most"] - of_sketches.value < 0.05
    usual = stats.ks_2samp(reference, live, method="asymp")
    assert of_sketches.p >= usual.pvalue * (1 - 1e-3)

    moved = stats.wasserstein_distance(reference, live) / reference.std()
    assert build("wasserstein").score(reference, live).value == pytest.approx(moved)
    near = build("wasserstein").score(*pair)
    assert abs(near.value - moved) <= near.facts["within"]
    assert near.facts["within"] < 0.1


@pytest.mark.parametrize("rows", [8000, 24_000])
def test_of_many_rows_p_is_scipys_to_a_thousandth(rows: int) -> None:
    exact = stats.kstwo(rows // 2)
    for level in (0.2, 0.01, 1e-4):
        value = exact.isf(level)
        assert kolmogorov_smirnov.p_value(value, rows, rows) == pytest.approx(level, rel=1e-3)
        assert kolmogorov_smirnov.passed(level, rows, rows) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("which", sorted(record_windows.names()))
def test_tests_of_names_are_scipys(which: str) -> None:
    reference, live = record_windows.names()[which]
    pair = sides("categories", "sketches", reference, live)
    table = np.stack([one.counts for one in pair])
    table = table[:, table.sum(axis=0) > 0]
    exact = stats.chi2_contingency(table, correction=False)
    score = build("chi_square").score(*pair)
    assert score.value == pytest.approx(exact.statistic)
    assert score.p == pytest.approx(exact.pvalue)
    association = stats.contingency.association(table, method="cramer")
    assert score.facts["cramers_v"] == pytest.approx(association)
    shares = table / table.sum(axis=1, keepdims=True)
    assert build("jensen_shannon").score(*pair).value == pytest.approx(
        jensenshannon(shares[0], shares[1], base=2)
    )
    assert build("total_variation").score(*pair).value == pytest.approx(
        np.abs(shares[0] - shares[1]).sum() / 2
    )


@pytest.mark.parametrize("which", sorted(RECORDED.get("alibi", {})))
def test_the_discrepancy_is_alibi_detects(which: str) -> None:
    reference, live = record_windows.vectors()[which]
    said = RECORDED["alibi"][which]
    score = build("mmd", permutations=500).score(reference, live)
    assert score.facts["bandwidth"] == pytest.approx(said["sigma"], rel=1e-3)
    assert score.value == pytest.approx(said["mmd2"], rel=2e-3, abs=1e-5)
    assert score.p == pytest.approx(said["p"], abs=0.05)


def test_random_features_see_the_discrepancy_of_all_pairs() -> None:
    reference, live = draw("embeddings", 900, 1), draw("embeddings", 900, 2, 0.8)
    exact = build("mmd").score(reference, live)
    near = build("mmd_features").score(*sides("embeddings", "sketches", reference, live))
    assert near.value == pytest.approx(exact.value, rel=0.15)


def test_the_area_is_mann_whitneys_and_the_regression_scikit_learns() -> None:
    from sklearn.linear_model import LogisticRegression

    drawn = np.random.default_rng(0)
    low, high = (drawn.integers(*ends).astype(float) for ends in ((0, 9, 80), (1, 11, 50)))
    value, deviation = classifier.area(low, high)
    exact = stats.mannwhitneyu(
        high, low, alternative="greater", method="asymptotic", use_continuity=False
    )
    assert value == pytest.approx(exact.statistic / (80 * 50))
    assert stats.norm.sf((value - 0.5) / deviation) == pytest.approx(exact.pvalue)

    one, two = draw("embeddings", 120, 1), draw("embeddings", 60, 2, 0.7)
    rows = np.concatenate([one, two]).astype(float)
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    theirs = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-10, max_iter=1000)
    theirs.fit(scaled, np.repeat([0, 1], [120, 60]))
    ours = classifier.logistic(one, two, 1.0)(rows)
    assert ours == pytest.approx(theirs.decision_function(scaled), abs=1e-4)


def test_one_new_level_is_no_alarm_and_many_rows_of_it_are() -> None:
    reference = np.repeat(["a", "b"], 50_000)
    usual = np.repeat(["a", "b"], 250)
    one, many = (np.concatenate([usual, ["new"] * count]) for count in (1, 50))
    for key in ("chi_square", "psi", "jensen_shannon", "total_variation"):
        pair = sides("categories", "sketches", reference, one, many)
        assert build(key).score(pair[0], pair[1]).p > 1e-3
        assert build(key).score(pair[0], pair[2]).p < 1e-5


def test_one_row_far_away_is_no_alarm() -> None:
    reference, live = draw("numbers", 20_000, 1), draw("numbers", 500, 2)
    far = np.append(live, 1e6)
    for key in ("psi", "kolmogorov_smirnov", "wasserstein"):
        pair = sides("numbers", "sketches", reference, live, far)
        plain, other = (build(key).score(pair[0], one).p for one in pair[1:])
        assert other == pytest.approx(plain, abs=0.1)
    assert build("wasserstein").score(*pair[::2]).value > 100


def test_the_limit_of_the_index_knows_how_many_rows_there_are() -> None:
    """The rule of thumb 0.1 fires in nearly half of all windows of 100 rows without drift."""
    passed = {"limit": 0, "0.1": 0}
    for seed in range(100):
        pair = sides("numbers", "sketches", draw("numbers", 500, seed),
                     draw("numbers", 100, 999 + seed))  # fmt: skip
        score = build("psi", level=0.01).score(*pair)
        passed["limit"] += score.value > score.limit
        passed["0.1"] += score.value > 0.1
    assert passed["limit"] <= 5
    assert 30 < passed["0.1"] < 60


def test_a_curve_of_three_moments_is_scipys() -> None:
    curve = chance.Curve(2.0, 9.0, 9.0**1.5 * 0.7)
    theirs = stats.pearson3(0.7, loc=2.0, scale=3.0)
    for value in (0.0, 5.0, 12.0, 25.0):
        assert curve.beyond(value) == pytest.approx(theirs.sf(value))
    for level in (0.2, 0.001, 1e-9):
        assert curve.limit(level) == pytest.approx(theirs.isf(level))
        assert curve.beyond(curve.limit(level)) == pytest.approx(level)


@pytest.mark.parametrize("kind", ["numbers", "categories", "embeddings"])
def test_false_alarms_are_measured_on_the_reference_itself(kind: str) -> None:
    key = "mmd_features" if kind == "embeddings" else "psi"
    found = splits.false_alarms(build(key), kind, draw(kind, 1200, 1), 100, windows=40)
    assert (found.windows, found.deals) == (40, 7)
    assert found.rate is not None
    assert found.interval is not None
    assert found.rate < 0.2
    assert found.interval[0] <= found.rate <= found.interval[1]
    assert found.limit == np.quantile(found.values, 0.95)
    json.dumps(found.as_dict(), allow_nan=False)


def test_of_a_reference_shorter_than_two_windows_false_alarms_are_unknown() -> None:
    found = splits.false_alarms(build("psi"), "numbers", [1.0, None, 3.0], 2)
    assert (found.windows, found.rate, found.interval, found.limit) == (0, None, None, None)


def test_corrections_are_what_their_papers_say() -> None:
    drawn = np.random.default_rng(0)
    for _ in range(20):
        values = [float(one) for one in drawn.random(6) ** 3]
        # Holm is Bonferroni on every subset: rejected is what all that hold it reject
        subsets = [[at for at in range(6) if which >> at & 1] for which in range(1, 64)]
        closed = [
            max(min(1.0, len(one) * min(values[i] for i in one)) for one in subsets if at in one)
            for at in range(6)
        ]
        assert corrections.holm(values) == pytest.approx(closed)
        theirs = stats.false_discovery_control(values)
        assert corrections.benjamini_hochberg(values) == pytest.approx(theirs)
        assert corrections.bonferroni(values) == [min(1.0, 6 * one) for one in values]


@pytest.mark.parametrize("name", sorted(corrections.CORRECTIONS))
def test_a_signal_without_a_p_is_no_test(name: str) -> None:
    correct = corrections.CORRECTIONS[name]
    assert correct([]) == []
    assert correct([None]) == [None]
    assert correct([None, 0.03, None]) == [None, 0.03, None]


@pytest.mark.parametrize("draw_", [
    lambda chance, many: chance.normal(0.1, 1, many),
    lambda chance, many: chance.binomial(20, 0.3, many).astype(float),
])  # fmt: skip
def test_mann_whitney_is_that_of_scipy_where_cells_hold_one_value(draw_: Any) -> None:
    """Of whole numbers to the bit of ranks; of others as close as a hundred cells can be."""
    chance = np.random.default_rng(0)
    one, two = draw_(chance, 3000), draw_(chance, 500) + 0.2
    two = np.round(two) if one[0] == round(one[0]) else two
    bins = sketches.fit("numbers", one)
    score = build("mann_whitney").score(bins.sketch(one), bins.sketch(two))
    told = stats.mannwhitneyu(two, one, use_continuity=False)
    assert score.facts["moved"] == pytest.approx(2 * told.statistic / (3000 * 500) - 1, abs=2e-3)
    assert score.p == pytest.approx(told.pvalue, rel=0.2)


def test_mann_whitney_sees_a_shift_in_half_the_rows_that_psi_takes() -> None:
    """A quarter of a deviation, among twenty columns of two tests each."""
    chance = np.random.default_rng(0)
    bins = sketches.fit("numbers", chance.normal(size=10_000))
    there = bins.sketch(np.random.default_rng(0).normal(size=10_000))
    found = {
        key: np.mean([
            build(key).score(there, bins.sketch(chance.normal(0.25, 1, 500))).p < 0.001 / 40
            for _ in range(60)
        ])
        for key in ("psi", "mann_whitney")
    }  # fmt: skip
    assert found["mann_whitney"] > 0.7 > 0.6 > found["psi"]


def test_mann_whitney_is_not_alarmed_by_rows_of_a_rare_value() -> None:
    chance = np.random.default_rng(0)
    rare = [(chance.random(many) < 0.01).astype(float) for many in (10_000, *[500] * 400)]
    bins = sketches.fit("numbers", rare[0])
    there = bins.sketch(rare[0])
    ps = [build("mann_whitney").score(there, bins.sketch(one)).p for one in rare[1:]]
    assert np.mean(np.array(ps) < 0.01) < 0.02
    assert build("mann_whitney").score(there, bins.sketch(np.ones(500))).p < 1e-12
