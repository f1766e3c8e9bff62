"""Laws of the metric store, on random histories: no gap, no duplicate, exact cuts, every value as
it was, whole chunks, outlines that lose no extreme, and reading that costs what it shows.

Chunks are made small here, so that a few hundred points cross every border.
"""

import math
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from projects.models import Project
from tests import make
from training.models import MetricChunk, MetricOutline, MetricSeries, Run
from training.models import metric as stored
from training.models.metric import Points
from training.services import metrics
from training.services.metrics import Measured
from training.worker import metrics as writing

POINTS, KEPT, CHUNKS = 10, 6, 3
ODD = (math.nan, math.inf, -math.inf)

History = dict[str, dict[int, tuple[float, float]]]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (stored, writing, metrics):
        for name, value in (("POINTS", POINTS), ("KEPT", KEPT), ("CHUNKS", CHUNKS)):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


@pytest.fixture
def run(project: Project) -> Run:
    return make.run(project)


def as_points(history: dict[int, tuple[float, float]]) -> Points:
    steps = sorted(history)
    return Points(
        np.array(steps, np.int64),
        np.array([history[step][0] for step in steps]),
        np.array([history[step][1] for step in steps]),
    )


def is_same(one: Points, other: Points) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True)
        for name in ("steps", "values", "times")
    )


def batch(chance: random.Random, history: History, names: list[str]) -> list[Measured]:
    """New points of some series, in any order, some of them sent again."""
    measured = []
    for name in chance.sample(names, chance.randint(1, len(names))):
        step = max(history.get(name, {}), default=-1)
        for _ in range(chance.choice([1, 3, 12, 70])):
            step += chance.choice([1, 1, 1, 5])
            value = chance.choice(ODD) if chance.random() < 0.05 else chance.gauss(0, 1)
            measured.append(Measured(name, step, value, float(chance.randint(0, 10**6))))
        again = [Measured(name, at, 99.0, 0.0) for at in list(history.get(name, {}))[-3:]]
        measured += again
    chance.shuffle(measured)
    return measured


def note(history: History, measured: list[Measured]) -> None:
    before = {name: max(points, default=-1) for name, points in history.items()}
    for point in measured:
        if point.step > before.get(point.name, -1):
            history.setdefault(point.name, {}).setdefault(point.step, (point.value, point.time))


def check(run: Run, history: History) -> None:
    found = dict(metrics.points_of(run=run))
    assert sorted(row.name for row in found) == sorted(history)
    for row, points in found.items():
        expected = as_points(history[row.name])
        assert is_same(points, expected)
        assert (row.count, row.last_step) == (len(expected), expected.steps[-1])
        last = float(expected.values[-1])
        assert row.last_value == (last if math.isfinite(last) else None)
        chunks = list(row.chunks.order_by("index"))
        check_chunks(chunks, expected)
        full = [chunk for chunk in chunks if chunk.count == POINTS]
        check_outlines(list(row.outlines.order_by("index")), full)


def check_chunks(chunks: list[MetricChunk], points: Points) -> None:
    """All but the last are full, and each tells the truth about what it holds."""
    assert [chunk.index for chunk in chunks] == list(range(len(chunks)))
    assert [chunk.count for chunk in chunks[:-1]] == [POINTS] * (len(chunks) - 1)
    for chunk in chunks:
        held = points[chunk.index * POINTS : chunk.index * POINTS + chunk.count]
        finite = held.values[np.isfinite(held.values)]
        assert (chunk.first_step, chunk.last_step) == (held.steps[0], held.steps[-1])
        extremes = (finite.min(), finite.max()) if finite.size else (None, None)
        assert (chunk.minimum, chunk.maximum) == extremes


def check_outlines(outlines: list[MetricOutline], full: list[MetricChunk]) -> None:
    """One for every CHUNKS full chunks, as if it had been made of them at once."""
    groups = [full[begin : begin + CHUNKS] for begin in range(0, len(full), CHUNKS)]
    assert [outline.index for outline in outlines] == list(range(len(groups)))
    for outline, group in zip(outlines, groups, strict=True):
        expected = Points.join([chunk.points.thinned(KEPT) for chunk in group])
        assert is_same(outline.points, expected)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(6))
def test_any_history_of_batches_and_cuts_is_kept_exactly(run: Run, seed: int) -> None:
    chance = random.Random(seed)
    names = ["train/loss", "val/loss", "train/kl"]
    history: History = {}
    for _ in range(12):
        if chance.random() < 0.3:
            longest = max((max(points) for points in history.values()), default=0)
            after = chance.randint(-1, longest + 1)
            latest = metrics.truncate(run, after=after)
            for name, points in list(history.items()):
                history[name] = {step: kept for step, kept in points.items() if step <= after}
                if not history[name]:
                    del history[name]
            assert set(latest) == set(history)
        else:
            measured = batch(chance, history, names)
            metrics.append(run, measured)
            note(history, measured)
        check(run, history)
    assert not MetricChunk.objects.exclude(series__run=run).exists()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(4))
def test_what_is_read_is_thinned_without_losing_an_extreme(run: Run, seed: int) -> None:
    chance = random.Random(100 + seed)
    history: History = {}
    for _ in range(8):
        measured = batch(chance, history, ["a", "b"])
        metrics.append(run, measured)
        note(history, measured)
    for _ in range(25):
        most = chance.choice([4, 5, 8, 20, 60, 1000])
        since = chance.choice([None, -1, chance.randint(0, max(history["a"], default=1))])
        read = metrics.read(run=run, max_points=most, since_step=since)["series"]
        for name, points in history.items():
            wanted = as_points(points) if since is None else as_points(points).after(since)
            shown = read[name]
            assert shown["count"] == len(points)
            assert shown["thinned"] == (len(shown["steps"]) < len(wanted))
            assert len(shown["steps"]) == min(len(wanted), len(shown["steps"])) <= most
            assert_shows(shown, wanted, most)


def assert_shows(shown: dict[str, Any], wanted: Points, most: int) -> None:
    places = np.searchsorted(wanted.steps, shown["steps"])
    assert wanted.steps[places].tolist() == shown["steps"]
    assert (np.diff(places) > 0).all()
    values = np.array([float(value) for value in shown["values"]])
    assert np.array_equal(values, wanted.values[places], equal_nan=True)
    if len(wanted) <= most:
        assert len(places) == len(wanted)
        return
    assert places[-1] == len(wanted) - 1
    if most >= 8:
        for kind in (np.isfinite, np.isnan, np.isposinf, np.isneginf):
            assert kind(values).any() == kind(wanted.values).any()
    finite, all_finite = values[np.isfinite(values)], wanted.values[np.isfinite(wanted.values)]
    assert (finite.min(), finite.max()) == (all_finite.min(), all_finite.max())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("most", [4, 6, 9, 100])
def test_thinning_keeps_extremes_breaks_and_ends_and_again(seed: int, most: int) -> None:
    chance = np.random.default_rng(seed)
    values = chance.normal(size=int(chance.integers(1, 3000)))
    if seed % 2:
        odd = chance.integers(0, values.size, size=max(1, values.size // 50))
        values[odd] = chance.choice(ODD, size=odd.size)
    points = Points(np.arange(values.size), values, np.zeros(values.size))
    thinned = points.thinned(most)
    finite = values[np.isfinite(values)]
    for one in (thinned, points.thinned(max(most, 50)).thinned(most)):
        assert len(one) <= most or len(one) == len(points)
        assert (one.steps[0], one.steps[-1]) == (0, values.size - 1)
        assert (np.diff(one.steps) > 0).all()
        shown = one.values[np.isfinite(one.values)]
        assert (shown.min(), shown.max()) == (finite.min(), finite.max())
        if most >= 7:
            for kind in (np.isnan, np.isposinf, np.isneginf):
                assert kind(one.values).any() == kind(values).any()


def test_thinning_values_of_which_none_is_finite_keeps_the_breaks() -> None:
    values = np.full(500, np.nan)
    values[300] = np.inf
    thinned = Points(np.arange(500), values, np.zeros(500)).thinned(10)
    assert 300 in thinned.steps
    assert np.isnan(thinned.values).any()


# What reading costs -----------------------------------------------------------------------------


@contextmanager
def counting() -> Iterator[dict[str, int]]:
    """Rows of points and bytes of them that Python gets, queries, and, on SQLite, the steps of its
    machine: what passing over rows costs, too."""
    cost = {"rows": 0, "bytes": 0, "queries": 0, "steps": 0}
    with pytest.MonkeyPatch.context() as patch, CaptureQueriesContext(connection) as queries:
        for model in (MetricChunk, MetricOutline):
            patch.setattr(model, "from_db", _counted(model.from_db, cost))
        lite = connection.connection if connection.vendor == "sqlite" else None

        def tick() -> int:
            cost["steps"] += 1
            return 0

        if lite is not None:
            lite.set_progress_handler(tick, 1)
        try:
            yield cost
        finally:
            if lite is not None:
                lite.set_progress_handler(None, 0)
    cost["queries"] = len(queries)


def _counted(made: Callable[..., Any], cost: dict[str, int]) -> Callable[..., Any]:
    def from_db(db: str, names: list[str], values: list[Any]) -> Any:
        cost["rows"] += 1
        cost["bytes"] += sum(len(one) for one in values if isinstance(one, bytes | memoryview))
        return made(db, names, values)

    return from_db


def fill(run: Run, points: int, name: str = "train/loss", begin: int = 0) -> None:
    at_once = 20_000
    for start in range(begin, points, at_once):
        steps = range(start, min(start + at_once, points))
        metrics.append(run, [Measured(name, step, math.sin(step / 50), step) for step in steps])


@pytest.mark.usefixtures("small")
def test_polling_costs_the_same_after_a_hundred_points_and_ten_thousand(
    run: Run,
) -> None:
    def poll(last: int) -> dict[str, int]:
        with counting() as cost:
            read = metrics.read(run=run, max_points=30, since_step=last - 6)
        assert read["series"]["train/loss"]["steps"] == list(range(last - 5, last))
        return cost

    fill(run, 103)
    early = poll(103)
    fill(run, 10_003, begin=103)
    late = poll(10_003)
    assert early["steps"] == pytest.approx(late["steps"], rel=0.2)
    assert {**early, "steps": 0} == {**late, "steps": 0}
    assert late["rows"] <= 2


@pytest.mark.usefixtures("small")
def test_a_chart_reads_outlines_and_not_the_points(run: Run) -> None:
    fill(run, 10_005)
    with counting() as cost:
        shown = metrics.read(run=run, max_points=1000)["series"]["train/loss"]
    assert cost["rows"] <= 10_000 / POINTS / CHUNKS + 2
    assert cost["bytes"] <= 0.65 * 24 * 10_005
    assert 500 < len(shown["steps"]) <= 1000
    assert shown["steps"][-1] == 10_004


def test_a_chart_of_a_hundred_thousand_points_reads_a_twentieth_of_them(run: Run) -> None:
    fill(run, 100_500)
    with counting() as cost:
        metrics.read(run=run, max_points=1000)
    assert cost["rows"] == 4 + 1
    assert cost["bytes"] < 24 * 100_500 / 20


def test_writing_at_the_end_of_a_long_series_costs_three_queries(run: Run) -> None:
    def write(step: int) -> dict[str, int]:
        with counting() as cost:
            metrics.append(run, [Measured("train/loss", step, 0.5, 0.0)])
        return cost

    fill(run, 100)
    early = write(100)
    fill(run, 30_100, begin=101)
    late = write(30_100)
    assert early["queries"] == late["queries"] == 3
    assert early["steps"] == pytest.approx(late["steps"], rel=0.2)


def test_a_thousand_series_take_no_more_queries_and_show_less_of_each(run: Run) -> None:
    names = [f"layer {place}/norm" for place in range(1000)]
    for begin in (0, 60):
        steps = range(begin, begin + 60)
        metrics.append(run, [Measured(name, step, 0.5, 0.0) for name in names for step in steps])
    with CaptureQueriesContext(connection) as queries:
        read = metrics.read(run=run)["series"]
    assert len(queries) == 2
    assert len(read) == 1000
    assert max(len(one["steps"]) for one in read.values()) <= 400
    with CaptureQueriesContext(connection) as queries:
        metrics.truncate(run, after=100)
    assert len(queries) < 60  # SQLite takes a hundred rows a statement
    assert {row.count for row in MetricSeries.objects.filter(run=run)} == {101}


# When its run is deleted ------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_what_a_deleted_run_measured_goes_little_by_little(
    project: Project, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make.run(project)
    fill(run, 2000)
    fill(other, 300)
    kept = metrics.read(run=other)
    metrics.detach(Run.objects.filter(pk=run.pk))
    run.delete()
    assert MetricChunk.objects.filter(series__run=None).count() == 200
    monkeypatch.setattr(writing, "SWEPT", 50)
    monkeypatch.setattr(writing, "MOST_SWEPT", 120)
    monkeypatch.setattr(writing, "PAUSE", 0)
    assert not metrics.sweep()
    while not metrics.sweep():
        pass
    assert not MetricSeries.objects.filter(run=None).exists()
    assert MetricChunk.objects.exclude(series__run=other).count() == 0
    assert MetricOutline.objects.exclude(series__run=other).count() == 0
    assert metrics.read(run=other) == kept


def test_deleting_a_run_at_once_leaves_no_orphan(run: Run) -> None:
    fill(run, 3100)
    run.delete()
    assert not MetricSeries.objects.exists()
    assert not MetricChunk.objects.exists()
    assert not MetricOutline.objects.exists()
