"""Writing the metric store: points in, a few rows out, each point once.

A series' steps only go up. A point whose step is already there is dropped, so sending a batch
again changes nothing; going on from a checkpoint first cuts off what was measured after it.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from training.models import MetricChunk, MetricSeries, Run
from training.models.metric import POINTS, Points

LONGEST_NAME = 200

CHUNK_FIELDS = [
    "count", "first_step", "last_step", "minimum", "maximum", "steps", "values", "times",
]  # fmt: skip


class Measured(NamedTuple):
    name: str
    step: int
    value: float
    time: float  # seconds since the epoch


def append(run: Run, measured: Iterable[Measured]) -> dict[str, float | str]:
    """Store points; returns the latest value of every series touched, as JSON can hold it.

    Four to six queries however many series and points; call it inside a transaction.
    """
    fresh = _by_series(measured)
    if not fresh:
        return {}
    series = _series(run, fresh)
    tails = _tails(series.values())
    made: list[MetricChunk] = []
    grown: list[MetricChunk] = []
    changed: list[MetricSeries] = []
    latest: dict[str, float | str] = {}
    for name, points in fresh.items():
        row = series[name]
        points = points.after(row.last_step)
        if not len(points):
            continue
        changed.append(row)
        index, tail = row.count // POINTS, tails.get(row.pk)
        latest[name] = _advance(row, points)
        if tail is not None and tail.count < POINTS:
            taken = POINTS - tail.count
            tail.points = Points.join([tail.points, points[:taken]])
            grown.append(tail)
            points = points[taken:]
            index += 1
        for begin in range(0, len(points), POINTS):
            chunk = MetricChunk(series=row, index=index)
            chunk.points = points[begin : begin + POINTS]
            made.append(chunk)
            index += 1
    if grown:
        MetricChunk.objects.bulk_update(grown, CHUNK_FIELDS, batch_size=50)
    MetricChunk.objects.bulk_create(made, batch_size=50)
    MetricSeries.objects.bulk_update(changed, ["count", "last_step", "last_value"])
    return latest


def truncate(run: Run, *, after: int) -> dict[str, float | str]:
    """Forget what was measured after step `after`; returns the latest value of every series left.

    `after=-1` forgets everything.
    """
    for row in MetricSeries.objects.filter(run=run, last_step__gt=after):
        row.chunks.filter(first_step__gt=after).delete()
        tail = row.chunks.order_by("-index").first()
        if tail is None:
            row.delete()
            continue
        if tail.last_step > after:
            tail.points = tail.points.until(after)
            tail.save(update_fields=CHUNK_FIELDS)
        row.count = tail.index * POINTS + tail.count
        row.last_step = tail.last_step
        last = float(tail.points.values[-1])
        row.last_value = last if math.isfinite(last) else None
        row.save(update_fields=["count", "last_step", "last_value"])
    return latest(run)


def latest(run: Run) -> dict[str, float | str]:
    """The newest value of every series, read from the series themselves."""
    values: dict[str, float | str] = {}
    for row in MetricSeries.objects.filter(run=run).order_by("name"):
        if row.last_value is None:
            tail = row.chunks.order_by("-index").first()
            values[row.name] = as_json(float(tail.points.values[-1])) if tail else "NaN"
        else:
            values[row.name] = row.last_value
    return values


def as_json(value: float) -> float | str:
    """JSON has no NaN and no infinities, and PostgreSQL refuses them: they become words."""
    if math.isfinite(value):
        return value
    if math.isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def from_json(value: object) -> float:
    """A number, or the word for one; anything else is not a number, and is kept as NaN."""
    if isinstance(value, bool | int | float | str):
        try:
            return float(value)
        except (ValueError, OverflowError):
            return math.nan
    return math.nan


def _by_series(measured: Iterable[Measured]) -> dict[str, Points]:
    """Group by name, in order of steps; the first of two points at one step stays."""
    gathered: dict[str, dict[int, Measured]] = {}
    for point in measured:
        gathered.setdefault(point.name[:LONGEST_NAME], {}).setdefault(point.step, point)
    grouped = {}
    for name, by_step in gathered.items():
        ordered = [by_step[step] for step in sorted(by_step)]
        grouped[name] = Points(
            np.array([point.step for point in ordered], np.int64),
            np.array([point.value for point in ordered], np.float64),
            np.array([point.time for point in ordered], np.float64),
        )
    return grouped


def _series(run: Run, names: Mapping[str, Points]) -> dict[str, MetricSeries]:
    known = {row.name: row for row in MetricSeries.objects.filter(run=run, name__in=names)}
    missing = [MetricSeries(run=run, name=name) for name in names if name not in known]
    if missing:
        MetricSeries.objects.bulk_create(missing)
        known |= {row.name: row for row in missing}
    return known


def _tails(series: Iterable[MetricSeries]) -> dict[int, MetricChunk]:
    """The last chunk of every series that has one, in one query."""
    wanted = {row.pk: (row.count - 1) // POINTS for row in series if row.count}
    if not wanted:
        return {}
    found = MetricChunk.objects.filter(series__in=wanted, index__in=set(wanted.values()))
    return {chunk.series_id: chunk for chunk in found if chunk.index == wanted[chunk.series_id]}


def _advance(row: MetricSeries, points: Points) -> float | str:
    last = float(points.values[-1])
    row.count += len(points)
    row.last_step = int(points.steps[-1])
    row.last_value = last if math.isfinite(last) else None
    return as_json(last)
