"""The metric store: every point once, read and thinned honestly."""

import json
import math

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from projects.models import Project
from tests import make
from training.models import MetricChunk, MetricSeries, Run
from training.models.metric import POINTS, Points
from training.services import metrics
from training.services.metrics import Measured


@pytest.fixture
def run(project: Project) -> Run:
    return make.run(project)


def rising(name: str, steps: range, value: float = 1.0) -> list[Measured]:
    return [Measured(name, step, value * step, 1000.0 + step) for step in steps]


def test_points_come_back_as_they_were_measured(run: Run) -> None:
    metrics.append(run, rising("train/loss", range(1, 6), 0.5))
    read = metrics.read(run=run)["series"]
    assert read == {
        "train/loss": {
            "steps": [1, 2, 3, 4, 5],
            "values": [0.5, 1.0, 1.5, 2.0, 2.5],
            "times": [1001.0, 1002.0, 1003.0, 1004.0, 1005.0],
            "count": 5,
            "thinned": False,
        }
    }


def test_many_small_batches_fill_whole_chunks(run: Run) -> None:
    for begin in range(0, 2500, 170):
        metrics.append(run, rising("train/loss", range(begin, min(begin + 170, 2500))))
    chunks = MetricChunk.objects.filter(series__run=run).order_by("index")
    assert [chunk.count for chunk in chunks] == [POINTS, POINTS, 500]
    assert [chunk.index for chunk in chunks] == [0, 1, 2]
    assert [chunk.first_step for chunk in chunks] == [0, 1000, 2000]
    assert (chunks[1].minimum, chunks[1].maximum) == (1000.0, 1999.0)
    steps = metrics.read(run=run, max_points=5000)["series"]["train/loss"]["steps"]
    assert steps == list(range(2500))


def test_a_batch_sent_again_changes_nothing(run: Run) -> None:
    batch = rising("a", range(1500)) + rising("b", range(20))
    metrics.append(run, batch)
    before = metrics.read(run=run, max_points=2000)
    assert metrics.append(run, batch) == {}
    metrics.append(run, batch[700:])
    assert metrics.read(run=run, max_points=2000) == before


def test_going_on_from_a_checkpoint_forgets_what_came_after_it(run: Run) -> None:
    metrics.append(run, rising("long", range(2300)))
    metrics.append(run, rising("late", range(2000, 2100)))
    latest = metrics.truncate(run, after=1234)
    assert latest == {"long": 1234.0}
    assert not MetricSeries.objects.filter(run=run, name="late").exists()
    metrics.append(run, rising("long", range(1235, 1300), 2.0))
    read = metrics.read(run=run, max_points=5000)["series"]["long"]
    assert read["steps"] == list(range(1300))
    assert read["values"][1234:1236] == [1234.0, 2470.0]
    assert read["count"] == 1300


def test_truncating_at_the_edge_of_a_chunk_keeps_chunks_whole(run: Run) -> None:
    metrics.append(run, rising("a", range(2000)))
    metrics.truncate(run, after=999)
    metrics.append(run, rising("a", range(1000, 1010)))
    chunks = MetricChunk.objects.filter(series__run=run).order_by("index")
    assert [(chunk.index, chunk.count) for chunk in chunks] == [(0, 1000), (1, 10)]


def test_forgetting_everything_leaves_no_series(run: Run) -> None:
    metrics.append(run, rising("a", range(10)))
    assert metrics.truncate(run, after=-1) == {}
    assert metrics.read(run=run) == {"series": {}}


def test_values_that_are_not_finite_are_words_in_json(run: Run) -> None:
    values = [1.0, math.nan, math.inf, -math.inf]
    latest = metrics.append(run, [Measured("a", n, value, 0.0) for n, value in enumerate(values)])
    assert latest == {"a": "-Infinity"}
    read = metrics.read(run=run)["series"]["a"]["values"]
    assert read == [1.0, "NaN", "Infinity", "-Infinity"]
    json.dumps(read, allow_nan=False)
    series = MetricSeries.objects.get(run=run)
    assert series.last_value is None
    assert (series.chunks.get().minimum, series.chunks.get().maximum) == (1.0, 1.0)


def test_thinning_keeps_a_single_spike_and_a_single_break() -> None:
    values = np.sin(np.arange(100_000) / 500)
    values[54_321], values[77_777], values[12_345] = 1e6, -1e6, np.nan
    points = Points(np.arange(100_000), values, np.arange(100_000.0))
    thinned = points.thinned(1000)
    assert len(thinned) <= 1000
    assert {0, 54_321, 77_777, 12_345, 99_999} <= set(thinned.steps.tolist())
    assert (np.diff(thinned.steps) > 0).all()


@pytest.mark.parametrize("count", [1, 2, 3, 5, 999, 1000, 1001, 1003, 4321])
@pytest.mark.parametrize("most", [4, 10, 1000])
def test_thinning_keeps_the_ends_and_the_extremes(count: int, most: int) -> None:
    values = np.random.default_rng(count).normal(size=count)
    points = Points(np.arange(count), values, np.zeros(count))
    thinned = points.thinned(most)
    assert len(thinned) <= max(most, count if count <= most else most)
    assert thinned.steps[0] == 0
    assert thinned.steps[-1] == count - 1
    assert thinned.values.min() == values.min()
    assert thinned.values.max() == values.max()


def test_reading_what_is_new_does_not_read_the_history(run: Run) -> None:
    metrics.append(run, rising("a", range(5000)))
    metrics.append(run, rising("b", range(3000)))
    with CaptureQueriesContext(
        connection,
    ) as queries:
        read = metrics.read(run=run, since_step=4990)["series"]
    assert read["a"]["steps"] == list(range(4991, 5000))
    assert read["b"]["steps"] == []
    assert read["a"]["count"] == 5000
    assert len(queries) == 2
    with CaptureQueriesContext(connection) as queries:
        metrics.read(run=run, names=["a"])
    assert len(queries) == 2


def test_writing_costs_the_same_queries_for_one_series_and_for_twenty(run: Run) -> None:
    def cost(count: int) -> int:
        names = [f"series {count}/{place}" for place in range(count)]
        metrics.append(run, [Measured(name, 0, 0.0, 0.0) for name in names])
        with CaptureQueriesContext(connection) as queries:
            metrics.append(run, [Measured(name, 1, 0.0, 0.0) for name in names])
        return len(queries)

    assert cost(1) == cost(20)


def test_two_runs_share_nothing(project: Project, run: Run) -> None:
    other = make.run(project)
    metrics.append(run, rising("a", range(5)))
    metrics.append(other, rising("a", range(3)))
    metrics.truncate(run, after=-1)
    assert metrics.read(run=other)["series"]["a"]["count"] == 3
