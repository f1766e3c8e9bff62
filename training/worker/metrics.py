"""Writing the metric store: points in, a few rows out, each point once.

A series' steps only go up. A point whose step is already there is dropped, so sending a batch
again changes nothing; going on from a checkpoint first cuts off what was measured after it.
"""

import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import NamedTuple, TypeVar

from django.db import connection, models
from django.db.models import F, OuterRef, QuerySet, Subquery

from distillhub.lib.later import np
from distillhub.lib.phrased import Given, Phrased
from training.models import MetricChunk, MetricOutline, MetricSeries, Run
from training.models.metric import CHUNKS, KEPT, POINTS, Packed, Points

LONGEST_NAME = 250
MACHINE = "system/"  # series of seconds, not of training steps (vitals.py)
FEW = 32  # series that are asked for in words that are kept
WRITTEN = 100  # rows of points in one statement: 2 MB

#: Of deleted runs, rows deleted in one transaction (5 MB), in one call, and the seconds in between:
#: who waits for SQLite's lock is in no queue, but looks again now and then.
SWEPT = 200
MOST_SWEPT = 10_000
PAUSE = 0.02

PACKED_FIELDS = [
    "count", "first_step", "last_step", "minimum", "maximum", "steps", "values", "times",
]  # fmt: skip
SERIES_FIELDS = ["count", "last_step", "last_value", "last_time", "is_outlined"]

Row = TypeVar("Row", bound=Packed)


class Measured(NamedTuple):
    name: str
    step: int
    value: float
    time: float  # seconds since the epoch


def append(run: Run, measured: Iterable[Measured]) -> dict[str, float | str]:
    """Store points; returns the latest value of every series touched, as JSON can hold it.

    Three queries however many series and points, and some more where a series begins or a chunk is
    full; call it inside a transaction.
    """
    fresh = _by_series(measured)
    if not fresh:
        return {}
    series, tails = opened(run, fresh)
    outlines: list[MetricOutline] = []
    written: list[MetricChunk] = []
    filled: list[MetricChunk] = []
    changed: list[MetricSeries] = []
    latest: dict[str, float | str] = {}
    for name, points in fresh.items():
        row = series[name]
        points = points.after(row.last_step)
        if not len(points):
            continue
        chunks = list(_chunks(row, tails.get(row.pk), points))
        written += chunks
        if row.is_outlined:
            filled += [chunk for chunk in chunks if chunk.count == POINTS]
        changed.append(row)
    if filled:
        outlines = outlines_of(filled)  # reads by the counts that are stored
    for row in changed:
        points = fresh[row.name].after(row.last_step)
        row.count += len(points)
        latest[row.name] = advance(row, points)
    put(MetricSeries, changed, SERIES_FIELDS, at_once=1000)
    put(MetricChunk, written, PACKED_FIELDS)
    put(MetricOutline, outlines, PACKED_FIELDS)
    return latest


def truncate(run: Run, *, after: int) -> dict[str, float | str]:
    """Forget what was measured after step `after`; returns the latest value of every series left.

    `after=-1` forgets everything. Seconds of the machine stay: they were spent. As many queries for
    thousands of series as for one.
    """
    later = MetricSeries.objects.filter(run=run, last_step__gt=after)
    rows = list(later.exclude(name__startswith=MACHINE))
    if rows:
        ids = [row.pk for row in rows]
        MetricChunk.objects.filter(series__in=ids, first_step__gt=after).delete()
        tails = _last(ids)
        MetricSeries.objects.filter(pk__in=[pk for pk in ids if pk not in tails]).delete()
        rows = [row for row in rows if row.pk in tails]
        for row in rows:
            tail = tails[row.pk]
            if tail.last_step > after:
                tail.points = tail.points.until(after)
            row.count = tail.index * POINTS + tail.count
            row.is_outlined = row.is_outlined or row.count < POINTS
            advance(row, tail.points)
        put(MetricChunk, list(tails.values()), PACKED_FIELDS)
        put(MetricSeries, rows, SERIES_FIELDS, at_once=1000)
        _cut_outlines(rows, tails)
    return latest(run)


def latest(run: Run) -> dict[str, float | str]:
    """The newest value of every series, read from the series themselves."""
    rows = list(MetricSeries.objects.filter(run=run).order_by("name"))
    tails = _last([row.pk for row in rows if row.last_value is None])
    return {
        row.name: as_json(float(tails[row.pk].points.values[-1]))
        if row.last_value is None
        else row.last_value
        for row in rows
    }


def detach(runs: QuerySet[Run]) -> None:
    """Before runs are deleted: what they measured is no longer theirs. It may be gigabytes, which
    `sweep` deletes little by little."""
    MetricSeries.objects.filter(run__in=runs).update(run=None, project=None)


def sweep() -> bool:
    """Delete what deleted runs had measured, so that nobody waits long for the database; whether
    all of it is gone. Harmless to repeat, and in two processes at once."""
    left = MOST_SWEPT
    for rows in (
        MetricChunk.objects.filter(series__run=None).order_by(),
        MetricOutline.objects.filter(series__run=None).order_by(),
        MetricSeries.objects.filter(run=None, chunks=None, outlines=None),
    ):
        while some := list(rows.values_list("pk", flat=True)[:SWEPT]):
            if left <= 0:
                return False
            left -= len(some)
            rows.model._default_manager.filter(pk__in=some).delete()
            time.sleep(PAUSE)
    return True


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


def opened(
    run: Run, names: Mapping[str, Points]
) -> tuple[dict[str, MetricSeries], dict[int, MetricChunk]]:
    """Every series, the stored ones and, not stored yet, the new ones; and of those that have one
    the chunk that is not full. One query, and another where a series is new or all its chunks are
    full."""
    tails = _tails(len(names)).rows(run=run.pk, points=POINTS, **_numbered(names))
    known = {chunk.series.name: chunk.series for chunk in tails}
    rest = [name for name in names if name not in known]
    if rest:
        known |= {row.name: row for row in MetricSeries.objects.filter(run=run, name__in=rest)}
    series = {
        name: known.get(name) or MetricSeries(run=run, project_id=run.project_id, name=name)
        for name in names
    }
    return series, {chunk.series_id: chunk for chunk in tails}


def _tails(count: int) -> Phrased[MetricChunk]:
    """The chunks that are not full of so many series of a run. Most who tell of one series, or of a
    few, do so at every step."""
    return _kept_tails(count) if count <= FEW else _phrased_tails(count)


def _phrased_tails(count: int) -> Phrased[MetricChunk]:
    names = [Given(name, models.CharField()) for name in _numbered([""] * count)]
    return Phrased(
        lambda: (
            MetricChunk.objects.select_related("series")
            .order_by()
            .filter(
                series__run_id=Given("run", models.IntegerField()),
                series__name__in=names,
                index=F("series__count") / Given("points", models.IntegerField()),
            )
        )
    )


_kept_tails = cache(_phrased_tails)


def _numbered(names: Iterable[str]) -> dict[str, str]:
    return {f"name{place}": name for place, name in enumerate(names)}


def in_progress(model: type[Row], series: Sequence[MetricSeries], each: int = 1) -> dict[int, Row]:
    """The row of each series that holds, or would hold, its next point (a chunk) or its next
    full chunk (an outline, of `each` chunks), where there is one."""
    if not series:
        return {}
    found = model._default_manager.filter(
        series__in=[row.pk for row in series], index=F("series__count") / POINTS / each
    )
    return {row.series_id: row for row in found}


def _last(series: Sequence[int]) -> dict[int, MetricChunk]:
    """The last chunk of each series that has one."""
    if not series:
        return {}
    newest = MetricChunk.objects.filter(series=OuterRef("pk")).order_by("-index").values("pk")[:1]
    rows = MetricSeries.objects.filter(pk__in=series).annotate(tail=Subquery(newest))
    found = MetricChunk.objects.filter(pk__in=list(rows.values_list("tail", flat=True)))
    return {chunk.series_id: chunk for chunk in found}


def _chunks(row: MetricSeries, tail: MetricChunk | None, points: Points) -> Iterator[MetricChunk]:
    """The chunks in which new points go: first the one that is not full."""
    index = row.count // POINTS
    if tail is not None:
        taken = POINTS - tail.count
        tail.series = row
        tail.points = Points.join([tail.points, points[:taken]])
        yield tail
        points, index = points[taken:], index + 1
    for begin in range(0, len(points), POINTS):
        chunk = MetricChunk(series=row, index=index)
        chunk.points = points[begin : begin + POINTS]
        yield chunk
        index += 1


def outlines_of(filled: Sequence[MetricChunk]) -> list[MetricOutline]:
    """The outlines of chunks that have become full, in order of series."""
    begun = [chunk.series for chunk in filled if chunk.series.pk and chunk.index % CHUNKS]
    known = in_progress(MetricOutline, begun, CHUNKS)
    made = []
    for (_, index), chunks in groupby(filled, lambda one: (id(one.series), one.index // CHUNKS)):
        pieces = [(chunk.series, chunk.points.thinned(KEPT)) for chunk in chunks]
        series = pieces[0][0]
        outline = known.get(series.pk)
        if outline is None or outline.index != index:
            outline = MetricOutline(index=index)
            older = []
        else:
            older = [outline.points]
        outline.series = series
        outline.points = Points.join([*older, *(points for _, points in pieces)])
        made.append(outline)
    return made


def _cut_outlines(rows: Sequence[MetricSeries], tails: Mapping[int, MetricChunk]) -> None:
    """Forget what outlines tell of chunks that are gone, or no longer full."""
    covered = F("index") * CHUNKS
    beyond = MetricOutline.objects.filter(series__in=rows).annotate(covered=covered)
    beyond.filter(covered__gte=F("series__count") / POINTS).delete()
    cut = []
    for outline in in_progress(MetricOutline, rows, CHUNKS).values():
        tail = tails[outline.series_id]
        last = tail.last_step if tail.count == POINTS else tail.first_step - 1
        if outline.last_step > last:
            outline.points = outline.points.until(last)
            cut.append(outline)
    put(MetricOutline, cut, PACKED_FIELDS)


def put(
    model: type[models.Model],
    rows: Sequence[models.Model],
    fields: list[str],
    *,
    at_once: int = WRITTEN,
) -> None:
    """Insert the new ones in one statement and change the others in another, which is written by
    hand: it is the hottest of all, and the ORM takes longer to phrase it than databases to do it.
    """
    manager = model._default_manager
    new = [row for row in rows if row.pk is None]
    old = [row for row in rows if row.pk is not None]
    if new:
        manager.bulk_create(new, batch_size=at_once)
    if old:
        wanted = [one for one in model._meta.concrete_fields if one.name in fields]
        changes = [
            [
                *(one.get_db_prep_save(getattr(row, one.attname), connection) for one in wanted),
                row.pk,
            ]
            for row in old
        ]
        columns = tuple(one.column for one in wanted)
        with connection.cursor() as cursor:
            cursor.executemany(_changing(model._meta.db_table, columns), changes)


@cache
def _changing(table: str, columns: tuple[str, ...]) -> str:
    name = connection.ops.quote_name
    changes = ", ".join(f"{name(column)} = %s" for column in columns)
    return f"UPDATE {name(table)} SET {changes} WHERE {name('id')} = %s"  # noqa: S608 (our names)


def advance(row: MetricSeries, points: Points) -> float | str:
    """Note the last of the points as the series' latest."""
    last = float(points.values[-1])
    row.last_step = int(points.steps[-1])
    row.last_time = float(points.times[-1])
    row.last_value = last if math.isfinite(last) else None
    return as_json(last)
