"""What tracked runs measure, in any order: the store holds every point once, and in order."""

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from projects.models import Project, User
from tests import make
from training.models import MetricChunk, MetricOutline, MetricSeries, Run
from training.models.metric import CHUNKS, KEPT, POINTS, Points
from training.services import metrics
from training.worker import arrivals
from training.worker.metrics import Measured

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(erin: User) -> Run:
    return make.tracked(make.project(owner=erin))


def kept(run: Run, name: str = "loss") -> list[tuple[int, float, float]]:
    [(_, points)] = metrics.points_of(run=run, names=[name])
    return list(
        zip(points.steps.tolist(), points.times.tolist(), points.values.tolist(), strict=True)
    )


def points(steps: Sequence[int], *, time: float = 0.0, name: str = "loss") -> list[Measured]:
    return [Measured(name, step, step / 7, time) for step in steps]


def is_sound(run: Run) -> None:
    """Full chunks but for the last, and outlines that tell of exactly the full ones."""
    for series in MetricSeries.objects.filter(run=run):
        counts = list(series.chunks.values_list("index", "count"))
        assert [index for index, _ in counts] == list(range(len(counts)))
        assert all(count == POINTS for _, count in counts[:-1])
        assert series.count == sum(count for _, count in counts)
        full = series.count // POINTS
        outlines = list(series.outlines.all())
        assert [one.index for one in outlines] == list(range(-(-full // CHUNKS)))
        for one in outlines:
            begin = one.index * CHUNKS
            chunks = series.chunks.filter(index__gte=begin, index__lt=min(full, begin + CHUNKS))
            thinned = Points.join([chunk.points.thinned(KEPT) for chunk in chunks])
            assert np.array_equal(one.points.values, thinned.values)
            assert np.array_equal(one.points.times, thinned.times)


@pytest.mark.parametrize("seed", range(4))
def test_every_point_is_kept_once_whatever_the_order(run: Run, seed: int) -> None:
    chance = random.Random(seed)
    sent = [
        Measured("loss", chance.randrange(600), chance.random(), float(chance.randrange(5)))
        for _ in range(3500)
    ]
    sent += chance.sample(sent, 400)
    if seed % 2:  # nearly in order, as programs send
        sent.sort(key=lambda point: point.step + chance.random() * 30)
    place = 0
    while place < len(sent):
        size = chance.choice((1, 40, 700))
        batch = sent[place : place + size]
        arrivals.record(run, batch)
        if chance.random() < 0.3:  # sent again, as after an answer that got lost
            arrivals.record(run, batch)
        place += size
    wanted = sorted({(point.step, point.time, point.value) for point in sent})
    assert kept(run) == wanted
    is_sound(run)


def test_late_points_reach_charts_of_long_series_through_their_outlines(run: Run) -> None:
    arrivals.record(run, points(range(0, 120_000, 2)))
    is_sound(run)
    arrivals.record(run, [Measured("loss", 70_001, -1000.0, 0.0)])
    is_sound(run)
    shown = metrics.read(run=run, max_points=500)["series"]["loss"]
    assert shown["count"] == 60_001
    assert shown["thinned"]
    assert min(shown["values"]) == -1000.0


def test_thousands_of_values_at_one_step_cost_one_chunk_at_a_time(run: Run) -> None:
    for moment in range(0, 2600, 100):
        batch = [Measured("loss", 0, 0.5, float(moment + place)) for place in range(100)]
        with CaptureQueriesContext(
            connection,
        ) as asked:
            arrivals.record(run, batch)
        assert len(asked) <= 7
        blobs = [one["sql"] for one in asked if "training_metricchunk" in one["sql"]]
        assert all("INSERT" not in one or one.count("x'") <= 3 * 2 for one in blobs)
    assert len(kept(run)) == 2600
    is_sound(run)


def test_the_latest_value_is_that_of_the_greatest_step_time_and_value(run: Run) -> None:
    told = arrivals.record(run, [Measured("loss", 5, 1.0, 9.0), Measured("loss", 5, 3.0, 9.0)])
    assert told == {"loss": 3.0}
    assert arrivals.record(run, [Measured("loss", 4, 7.0, 99.0)]) == {"loss": 3.0}
    assert arrivals.record(run, [Measured("loss", 5, 0.1, 10.0)]) == {"loss": 0.1}
    assert arrivals.record(run, [Measured("loss", 5, math.nan, 11.0)]) == {"loss": "NaN"}
    assert arrivals.record(run, [Measured("loss", 5, math.nan, 11.0)]) == {}
    assert len(kept(run)) == 5
    series = MetricSeries.objects.get(run=run)
    assert (series.last_step, series.last_value) == (5, None)


def test_a_batch_of_many_series_costs_as_many_queries_as_one(run: Run, project: Project) -> None:
    names = [f"m{place}" for place in range(40)]

    def batch(step: int) -> list[Any]:
        return [Measured(name, step, 0.5, 1.0) for name in names]

    arrivals.record(run, batch(1))
    with CaptureQueriesContext(connection) as asked:
        arrivals.record(run, batch(2))
    assert len(asked) <= 3
    assert MetricChunk.objects.count() == 40
    assert not MetricOutline.objects.exists()
