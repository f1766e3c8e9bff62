"""Writing what tracked runs measure: points that come in any order, more than once, several at one
step.

A series holds its points by step, then time, then value. A point that is there already, with all
three, is dropped: sending a batch again changes nothing. What comes in order costs what `metrics`
costs; what comes late rewrites the chunks from its place on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from distillhub.lib.later import np
from training.models import MetricChunk, MetricOutline, MetricSeries, Run
from training.models.metric import CHUNKS, POINTS, Points
from training.worker import metrics
from training.worker.metrics import Measured

if TYPE_CHECKING:
    from numpy.typing import NDArray


def record(run: Run, measured: Iterable[Measured]) -> dict[str, float | str]:
    """Store points; returns the latest value of every series touched, as JSON can hold it: that of
    the greatest step, time and value. Call it in a transaction that holds the run's row.

    Three queries however many series and points, and four more for each series to which points come
    late.
    """
    fresh = _by_series(measured)
    if not fresh:
        return {}
    series, tails = metrics.opened(run, fresh)
    changed: list[MetricSeries] = []
    written: list[MetricChunk] = []
    filled: list[MetricChunk] = []
    latest: dict[str, float | str] = {}
    for name, points in fresh.items():
        row, tail = series[name], tails.get(series[name].pk)
        first, before = 0, Points.join([])
        if tail is not None and _key(points, 0) >= _key(tail.points, 0):
            first, before = tail.index, tail.points
        elif row.count:
            tail = None
            first, before = _place(row, points)
        whole = merged(before, points)
        if len(whole) == len(before):
            continue
        if tail is None and len(before):  # outlines of what is rewritten are made anew
            MetricOutline.objects.filter(series=row, index__gte=first // CHUNKS).delete()
        chunks = _chunks(row, tail, first, whole)
        written += chunks
        filled += [chunk for chunk in chunks if chunk.count == POINTS]
        changed.append(row)
        row.count = first * POINTS + len(whole)
        latest[name] = metrics.advance(row, whole)
    outlines = metrics.outlines_of(filled) if filled else []
    metrics.put(MetricSeries, changed, metrics.SERIES_FIELDS, at_once=1000)
    metrics.put(MetricChunk, written, metrics.PACKED_FIELDS)
    metrics.put(MetricOutline, outlines, metrics.PACKED_FIELDS)
    return latest


def merged(old: Points, new: Points) -> Points:
    """All of both, in order, each once."""
    whole = Points.join([piece for piece in (old, new) if len(piece)])
    if not len(old) or _key(new, 0) <= _key(old, len(old) - 1):
        # NaN is the last of its kind, and equal to itself, as numpy sorts.
        order = np.lexsort((whole.values, whole.times, whole.steps))
        whole = whole[order]
    return whole[~_repeated(whole)]


def _repeated(points: Points) -> NDArray[np.bool_]:
    """Of each point, whether it is the one before it once more."""
    values = points.values
    alike = values[1:] == values[:-1]
    alike |= np.isnan(values[1:]) & np.isnan(values[:-1])
    alike &= points.steps[1:] == points.steps[:-1]
    alike &= points.times[1:] == points.times[:-1]
    return np.concatenate([np.zeros(min(1, len(points)), np.bool_), alike])


def _key(points: Points, place: int) -> tuple[int, float, float]:
    value = float(points.values[place])
    return int(points.steps[place]), float(points.times[place]), np.inf if value != value else value


def _by_series(measured: Iterable[Measured]) -> dict[str, Points]:
    gathered: dict[str, list[Measured]] = {}
    for point in measured:
        gathered.setdefault(point.name, []).append(point)
    empty = Points.join([])
    return {
        name: merged(
            empty,
            Points(
                np.array([point.step for point in points], np.int64),
                np.array([point.value for point in points], np.float64),
                np.array([point.time for point in points], np.float64),
            ),
        )
        for name, points in gathered.items()
    }


def _place(row: MetricSeries, points: Points) -> tuple[int, Points]:
    """The chunk from which on new points are to be written, and what stands there already."""
    step, end = int(points.steps[0]), row.count // POINTS
    if step > row.last_step:
        return end, Points.join([])
    chunks = MetricChunk.objects.filter(series=row)
    newest = chunks.order_by("-index")[0].points
    if _key(points, 0) > _key(newest, len(newest) - 1):
        return end, Points.join([])
    # Late: from the beginning of an outline's stretch on.
    hit = chunks.filter(last_step__gte=step).order_by("index").values_list("index", flat=True)
    first = (hit[0] // CHUNKS) * CHUNKS
    found = chunks.filter(index__gte=first).order_by("index")
    return first, Points.join([chunk.points for chunk in found])


def _chunks(
    row: MetricSeries, tail: MetricChunk | None, first: int, points: Points
) -> list[MetricChunk]:
    """The rows from chunk `first` on, those that are there taken up again."""
    known: dict[int, MetricChunk] = {}
    if tail is not None:
        known = {tail.index: tail}
    elif row.pk and first * POINTS < row.count:
        rows = MetricChunk.objects.filter(series=row, index__gte=first).only("index")
        known = {chunk.index: chunk for chunk in rows}
    chunks = []
    for begin in range(0, len(points), POINTS):
        index = first + begin // POINTS
        chunk = known.get(index) or MetricChunk(index=index)
        chunk.series = row
        chunk.points = points[begin : begin + POINTS]
        chunks.append(chunk)
    return chunks
