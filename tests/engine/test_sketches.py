"""Windows as sketches: parts that are merged are the whole, and nothing of it depends on order."""

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest

from training.engine import sketches
from training.engine.sketches.embeddings import squared_distances
from training.engine.sketches.quantiles import Quantiles

KINDS = sorted(sketches.BINS)


def rows(kind: str, many: int, seed: int = 0) -> Any:
    chance = np.random.default_rng(seed)
    if kind == "numbers":
        values = chance.standard_t(3, many) * 7 + 40
        values[::50] = np.nan
        values[1::400] = np.inf
        return values
    if kind == "categories":
        found: list[Any] = [f"level {one}" for one in chance.zipf(1.4, many) if one]
        found[::70] = [None] * len(found[::70])
        return found
    return (chance.normal(size=(many, 24)) * np.linspace(2, 0.1, 24)).astype(np.float32)


def parts(values: Any, many: int) -> list[Any]:
    """Of unlike lengths, one of them empty."""
    cuts = [0, 0, *(len(values) * (one + 1) ** 2 // many**2 for one in range(many))]
    return [values[begin:end] for begin, end in itertools.pairwise(cuts)]


def plain(sketch: sketches.Sketch) -> Any:
    """Its JSON, where sums of floats are left out, and these sums."""
    said = sketch.as_dict()
    sums = [said.pop(name) for name in ("mean", "squares") if name in said]
    if isinstance(sketch, sketches.EmbeddingSketch):
        del said["total"], said["lifted"]
        sums = [*sketch.total, *sketch.lifted]
    return said, sums


@pytest.mark.parametrize("kind", KINDS)
def test_merged_parts_are_the_sketch_of_the_whole_in_any_order(kind: str) -> None:
    bins = sketches.fit(kind, rows(kind, 3000))
    live = rows(kind, 5000, seed=1)
    whole = bins.sketch(live)
    cut = [bins.sketch(one) for one in parts(live, 6)]
    for order in (cut, cut[::-1], cut[3:] + cut[:3]):
        merged = order[0]
        for one in order[1:]:
            merged = merged.merge(one)
        said, sums = plain(merged)
        expected, wanted = plain(whole)
        assert said == expected
        assert sums == pytest.approx(wanted, rel=1e-9, abs=1e-6)
    shuffled = live[::-1]
    assert plain(bins.sketch(shuffled))[0] == plain(whole)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_bins_and_sketches_are_read_back_from_json_and_bytes(kind: str) -> None:
    bins = sketches.fit(kind, rows(kind, 800))
    again = sketches.read_bins(json.loads(json.dumps(bins.as_dict(), allow_nan=False)))
    assert again.key == bins.key
    live = rows(kind, 300, seed=1)
    sketch = bins.sketch(live)
    assert again.sketch(live).as_dict() == sketch.as_dict()
    back = sketches.from_bytes(sketches.to_bytes(sketch))
    assert back.as_dict() == sketch.as_dict()
    assert back.merge(sketch).rows == 2 * sketch.rows


@pytest.mark.parametrize("kind", KINDS)
def test_sketches_of_two_references_are_never_merged(kind: str) -> None:
    one, two = (sketches.fit(kind, rows(kind, 500, seed)) for seed in (0, 1))
    with pytest.raises(ValueError, match="two references"):
        one.sketch(rows(kind, 50)).merge(two.sketch(rows(kind, 50)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("many", [0, 1])
def test_nothing_and_one_row_are_sketches_too(kind: str, many: int) -> None:
    bins = sketches.fit(kind, rows(kind, 60)[:many] if kind != "numbers" else [3.0] * many)
    empty = bins.sketch(rows(kind, 60)[:0])
    assert empty.rows == 0
    live = bins.sketch(rows(kind, 60)[1:9])
    assert live.rows == 8 - live.missing
    assert empty.merge(live).as_dict() == live.as_dict()
    json.dumps(live.as_dict(), allow_nan=False)


@pytest.mark.parametrize("draw", ["normal", "exponential", "standard_cauchy", "uniform"])
def test_quantiles_are_as_near_as_they_say(draw: str) -> None:
    values = getattr(np.random.default_rng(2), draw)(size=20_001) + 1e3
    bins = sketches.fit("numbers", values)
    found = bins.sketch(values).quantiles
    shares = [0.0, 0.01, 0.25, 0.5, 0.75, 0.95, 0.999, 1.0]
    exact = np.quantile(values, shares, method="lower")
    assert found.accuracy < 0.05
    room = found.accuracy * np.abs(exact - bins.centre) + 1e-3 * bins.scale
    assert np.all(np.abs(found.quantiles(shares) - exact) <= room * 1.0001)
    assert len(found.above) + len(found.below) <= 512


def test_quantiles_of_nothing_are_none() -> None:
    assert Quantiles.of(np.empty(0), 0.0, 1.0).quantiles([0.5]) == []


def test_numbers_are_counted_with_what_is_missing_and_out_of_range() -> None:
    bins = sketches.fit("numbers", np.arange(1000.0))
    live = bins.sketch([None, math.nan, math.inf, 1e200, -5.0, 0.0, 500.0, 999.0, 2000.0])
    assert (live.rows, live.missing, live.under, live.over) == (5, 4, 1, 1)
    assert (live.low, live.high) == (-5.0, 2000.0)
    assert live.mean == pytest.approx(698.8)
    assert live.deviation == pytest.approx(np.std([-5, 0, 500, 999, 2000]))
    shares = bins.sketch(np.arange(1000.0)).counts
    assert shares.tolist() == [10] * 100


def test_a_constant_reference_sees_what_lies_on_either_side() -> None:
    bins = sketches.fit("numbers", [4.0] * 30)
    assert bins.sketch([3.9, 4.0, 4.0, 4.1]).counts.tolist() == [1, 2, 1]


def test_levels_are_told_from_rare_and_from_unseen_ones() -> None:
    reference = [name for one in range(150) for name in [f"level {one:03}"] * (300 - one)]
    bins = sketches.fit("categories", reference)
    live = bins.sketch(["level 000", "level 149", "new", "new", None, math.nan])
    assert (live.counts[0], live.counts[-2], live.rows_unseen) == (1, 1, 2)
    assert (live.rows, live.missing, live.unseen) == (4, 2, {"new": 2})
    assert sketches.fit("categories", [1, 2]).sketch(np.array([1.0, 2.0, 3.0])).rows_unseen == 1


def test_of_too_many_levels_nothing_is_called_unseen() -> None:
    bins = sketches.fit("categories", range(20_000))
    assert bins.sketch(["never met"]).rows_unseen == 0


def test_names_of_unseen_levels_keep_exact_counts_though_few_are_kept() -> None:
    bins = sketches.fit("categories", ["known"])
    live = [f"new {one}" for one in range(100)] * 3
    merged = bins.sketch(live[:170]).merge(bins.sketch(live[170:]))
    assert len(merged.unseen) == 32
    assert set(merged.unseen.values()) == {3}
    assert merged.rows_unseen == 300


def test_products_of_random_features_are_nearly_the_kernel() -> None:
    vectors = rows("embeddings", 200)
    bins = sketches.EmbeddingBins.fit(vectors, features=1024)
    lifted = bins.lifted(vectors)
    exact = np.exp(-squared_distances(vectors, vectors) / (2 * bins.bandwidth**2))
    assert np.abs(lifted @ lifted.T - exact).max() < 0.2
    assert np.abs(lifted @ lifted.T - exact).mean() < 0.04


def test_rows_of_embeddings_that_are_not_whole_are_missing_and_some_are_kept_by_name() -> None:
    bins = sketches.fit("embeddings", rows("embeddings", 200))
    live = rows("embeddings", 100)
    live[3, 5] = np.nan
    names = [f"row {one}" for one in range(100)]
    sketch = bins.sketch(live, names)
    assert (sketch.rows, sketch.missing, len(sketch.ids)) == (99, 1, 64)
    parted = bins.sketch(live[:30], names[:30]).merge(bins.sketch(live[30:], names[30:]))
    assert parted.ids == sketch.ids
    with pytest.raises(ValueError, match="24 columns"):
        bins.sketch(live[:, :5])


def test_a_window_takes_a_few_kilobytes() -> None:
    column = sketches.fit("numbers", rows("numbers", 20_000))
    assert len(sketches.to_bytes(column.sketch(rows("numbers", 20_000, 1)))) < 3_000
    vectors = np.random.default_rng(0).normal(size=(2000, 384))
    bins = sketches.fit("embeddings", vectors)
    assert len(sketches.to_bytes(bins.sketch(vectors))) < 12_000
