"""Reading what a run measured, thinned for a screen without hiding a single spike."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.models import MetricChunk, MetricSeries, Run
from training.models.metric import Points
from training.worker.metrics import Measured, append, as_json, truncate

__all__ = ["MOST_POINTS", "Measured", "append", "points_of", "read", "thin", "truncate"]

MOST_POINTS = 20_000  # a series in one answer


def read(
    *,
    run: Run,
    names: Sequence[str] | None = None,
    max_points: int = 1000,
    since_step: int | None = None,
) -> dict[str, Any]:
    """`{"series": {name: {"steps", "values", "times", "count", "thinned"}}}`.

    `count` is how many points the series has; `thinned` says that some are not shown. Values that
    are not finite are the strings "NaN", "Infinity", "-Infinity"; times are seconds since the
    epoch. With `since_step` only points after it are read, at a cost that does not depend on the
    history. Two queries, whatever the number of series.
    """
    max_points = max(4, min(max_points, MOST_POINTS))
    answer = {}
    for row, points in points_of(run=run, names=names, since_step=since_step):
        shown = thin(points, max_points)
        answer[row.name] = {
            "steps": shown.steps.tolist(),
            "values": _values(shown.values),
            "times": shown.times.tolist(),
            "count": row.count,
            "thinned": len(shown) < len(points),
        }
    return {"series": answer}


def points_of(
    *, run: Run, names: Sequence[str] | None = None, since_step: int | None = None
) -> list[tuple[MetricSeries, Points]]:
    """Every stored point of the named series (all of them by default), in order of names."""
    series = MetricSeries.objects.filter(run=run).order_by("name")
    if names is not None:
        series = series.filter(name__in=names)
    rows = list(series)
    chunks = MetricChunk.objects.filter(series__in=[row.pk for row in rows])
    if since_step is not None:
        chunks = chunks.filter(last_step__gt=since_step)
    pieces: dict[int, list[Points]] = defaultdict(list)
    for chunk in chunks.order_by("series", "index").only("series", "steps", "values", "times"):
        pieces[chunk.series_id].append(chunk.points)
    found = []
    for row in rows:
        points = Points.join(pieces[row.pk])
        if since_step is not None:
            points = points.after(since_step)
        found.append((row, points))
    return found


def thin(points: Points, most: int) -> Points:
    """At most `most` of the points: the first, the last, and of every stretch in between the
    least and the greatest value, and where a stretch holds NaN, its first NaN in place of the
    least, so that neither a spike nor a break can vanish.
    """
    if len(points) <= most:
        return points
    inner = len(points) - 2
    buckets = max(1, (most - 2) // 2)
    width = -(-inner // buckets)
    padded = np.full(buckets * width, np.nan)
    padded[:inner] = points.values[1:-1]
    table = padded.reshape(buckets, width)
    real = np.arange(buckets * width).reshape(buckets, width) < inner
    missing = np.isnan(table)
    low = np.where(missing, np.inf, table).argmin(axis=1)
    high = np.where(missing, -np.inf, table).argmax(axis=1)
    broken = missing & real
    low = np.where(broken.any(axis=1), broken.argmax(axis=1), low)
    starts = np.arange(buckets) * width
    picked = np.unique(np.concatenate([starts + low, starts + high]))
    picked = picked[picked < inner] + 1
    return points[np.concatenate([[0], picked, [len(points) - 1]])]


def _values(values: NDArray[np.float64]) -> list[float | str]:
    numbers: list[float | str] = values.tolist()
    if np.isfinite(values).all():
        return numbers
    return [as_json(float(number)) for number in numbers]
