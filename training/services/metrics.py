"""Reading what a run measured, thinned for a screen without hiding a single spike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from django.db.models import Count, F, Q, QuerySet

from distillhub.lib.later import np
from training.models import MetricChunk, MetricOutline, MetricSeries, Run
from training.models.metric import KEPT, POINTS, Packed, Points
from training.worker.metrics import MACHINE, Measured, append, as_json, detach, sweep, truncate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "MOST_POINTS", "Measured", "append", "detach", "points_of", "read",
    "read_together", "sweep", "truncate",
]  # fmt: skip

MOST_POINTS = 100_000  # of a series in one answer
MOST_TOGETHER = 400_000  # of all its series

Row = TypeVar("Row", bound=Packed)


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
    history. Of long series only outlines are read where they suffice; of thousands of series each
    shows less. Two queries, and three more where series are long.
    """
    rows = _named(run, names)
    if since_step is not None and names is None:  # of training steps: seconds are asked by name
        rows = [row for row in rows if not row.name.startswith(MACHINE)]
    shown = _shown(rows, max_points=max_points, since_step=since_step)
    return {"series": {row.name: shown[row.pk] for row in rows}}


def read_together(
    *, runs: Iterable[Run], names: Sequence[str], max_points: int = 1000
) -> dict[int, dict[str, Any]]:
    """Of several runs what `read` tells of one: its `series`, by the ids of the runs. As many
    queries as for a single run."""
    found: dict[int, dict[str, Any]] = {run.pk: {} for run in runs}
    wanted = MetricSeries.objects.filter(run__in=list(found), name__in=names)
    rows = list(wanted.order_by("run", "name"))
    shown = _shown(rows, max_points=max_points)
    for row in rows:
        assert row.run_id is not None
        found[row.run_id][row.name] = shown[row.pk]
    return found


def _shown(
    rows: Sequence[MetricSeries], *, max_points: int, since_step: int | None = None
) -> dict[int, dict[str, Any]]:
    """By ids of the series."""
    max_points = max(4, min(max_points, MOST_POINTS, MOST_TOGETHER // max(1, len(rows))))
    newer = Q() if since_step is None else Q(last_step__gt=since_step)
    long = _outlined(rows, newer, max_points)
    short = {row.pk for row in rows} - long
    pieces: dict[int, list[Points]] = defaultdict(list)
    for found in (
        _packed(MetricOutline.objects.filter(newer), long),
        # What is not in outlines yet: the chunk that is not full.
        _packed(MetricChunk.objects.filter(newer, index=F("series__count") / POINTS), long),
        _packed(MetricChunk.objects.filter(newer), short),
    ):
        for part in found:
            pieces[part.series_id].append(part.points)
    answer = {}
    for row in rows:
        points = Points.join(pieces[row.pk])
        if since_step is not None:
            points = points.after(since_step)
        shown = points.thinned(max_points)
        answer[row.pk] = {
            "steps": shown.steps.tolist(),
            "values": _values(shown.values),
            "times": shown.times.tolist(),
            "count": row.count,
            "thinned": row.pk in long or len(shown) < len(points),
        }
    return answer


def points_of(*, run: Run, names: Sequence[str] | None = None) -> list[tuple[MetricSeries, Points]]:
    """Every stored point of the named series (all of them by default), in order of names."""
    rows = _named(run, names)
    pieces: dict[int, list[Points]] = defaultdict(list)
    for chunk in _packed(MetricChunk.objects.all(), {row.pk for row in rows}):
        pieces[chunk.series_id].append(chunk.points)
    return [(row, Points.join(pieces[row.pk])) for row in rows]


def _named(run: Run, names: Sequence[str] | None) -> list[MetricSeries]:
    series = MetricSeries.objects.filter(run=run).order_by("name")
    return list(series if names is None else series.filter(name__in=names))


def _outlined(rows: Sequence[MetricSeries], newer: Q, max_points: int) -> set[int]:
    """The series of which an outline holds more points than are to be shown."""
    enough = -(-max_points // KEPT)  # full chunks
    long = {row.pk for row in rows if row.is_outlined and row.count // POINTS >= enough}
    if long and newer:
        chunks = MetricChunk.objects.filter(newer, series__in=long).order_by()
        counted = chunks.values_list("series").annotate(Count("pk"))
        # The first may be wanted in part only, and the last may not be full.
        long = {series for series, count in counted if count >= enough + 2}
    return long


def _packed(rows: QuerySet[Row], series: set[int]) -> Iterable[Row]:
    if not series:
        return []
    found = rows.filter(series__in=series).order_by("series", "index")
    return found.only("series", "steps", "values", "times")


def _values(values: NDArray[np.float64]) -> list[float | str]:
    numbers: list[float | str] = values.tolist()
    if np.isfinite(values).all():
        return numbers
    return [as_json(float(number)) for number in numbers]
