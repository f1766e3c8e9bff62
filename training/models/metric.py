"""Metrics in chunks: a thousand points a row, so that a million points are a thousand rows.

A chunk holds three packed little-endian arrays: steps (int64), values (float64, NaN and infinities
included) and times (float64, seconds since the epoch). Chunk `i` of a series holds its points
`i * POINTS` to `(i + 1) * POINTS`, so every chunk but the last is full, whatever was cut off and
measured again.

An outline holds what a chart shows of CHUNKS full chunks: of each the KEPT points that thinning
keeps. A million points are forty of its rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from django.db import models

from distillhub.lib.later import np
from projects.models import Project
from training.models.run import Run

if TYPE_CHECKING:
    from numpy.typing import NDArray

POINTS = 1000  # in a full chunk: 24 kB, a few milliseconds to rewrite while it is the tail
KEPT = 40  # points of a full chunk that its outline holds
CHUNKS = 25  # full chunks that one row of an outline is about: at most POINTS points


@dataclass(frozen=True, slots=True)
class Points:
    """Parallel arrays, in order of steps, which are strictly increasing."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]  # seconds since the epoch

    def __getitem__(self, part: slice | NDArray[np.int64] | NDArray[np.bool_]) -> Points:
        return Points(self.steps[part], self.values[part], self.times[part])

    def __len__(self) -> int:
        return int(self.steps.size)

    def after(self, step: int) -> Points:
        return self[int(np.searchsorted(self.steps, step, side="right")) :]

    def until(self, step: int) -> Points:
        return self[: int(np.searchsorted(self.steps, step, side="right"))]

    def thinned(self, most: int) -> Points:
        """At most `most` (four or more) of the points: the first, the last, and of every stretch in
        between the least and the greatest. Of stretches that hold values which are not finite,
        also the least and the greatest of the finite ones and the first NaN. So neither a spike
        nor a break can vanish; where `most` is too small for all of these, finite extremes stay.

        What was thinned to many points may be thinned again: no extreme of it is lost.
        """
        if len(self) <= most:
            return self
        inner, room = len(self) - 2, most - 2
        values = self.values[1:-1]
        is_finite = bool(np.isfinite(values).all())
        width = -(-inner // max(1, room // (2 if is_finite else 5)))
        starts = np.arange(0, inner, width)
        table = np.full((starts.size, width), np.nan)
        table.ravel()[:inner] = values
        missing = np.isnan(table)
        picked = _extremes(table, missing)
        if not is_finite:
            missing.ravel()[inner:] = False
            picked = [*_extremes(table, ~np.isfinite(table)), missing.argmax(axis=1), *picked]
        if starts.size == 1:
            chosen = np.sort(list(dict.fromkeys(map(int, np.concatenate(picked))))[:room])
        else:
            chosen = np.unique(np.concatenate([starts + place for place in picked]))
        return self[np.concatenate([[0], chosen[chosen < inner] + 1, [len(self) - 1]])]

    @classmethod
    def join(cls, pieces: list[Points]) -> Points:
        if not pieces:
            return cls(np.empty(0, np.int64), np.empty(0), np.empty(0))
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            np.concatenate([piece.steps for piece in pieces]),
            np.concatenate([piece.values for piece in pieces]),
            np.concatenate([piece.times for piece in pieces]),
        )


def _extremes(
    table: NDArray[np.float64], hidden: NDArray[np.bool_]
) -> list[NDArray[np.signedinteger]]:
    """Of each row the places of the least and of the greatest number that is not hidden."""
    low = np.where(hidden, np.inf, table).argmin(axis=1)
    high = np.where(hidden, -np.inf, table).argmax(axis=1)
    return [low, high]


class MetricSeries(models.Model):
    # Null once its run is deleted: what it holds is then taken away little by little.
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="series", null=True)
    # The run's, so that one index finds a project's runs in order of a metric.
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+", null=True)
    name = models.CharField(max_length=250)
    count = models.BigIntegerField(default=0)
    last_step = models.BigIntegerField(default=-1)
    last_value = models.FloatField(null=True, help_text="Null when not finite.")
    last_time = models.FloatField(null=True, help_text="Seconds since the epoch; old rows: null.")
    is_outlined = models.BooleanField(
        default=True, help_text="Whether its full chunks have outlines; older ones have none."
    )

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "name"], name="metric_series_once")
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["project", "name", "last_value", "run"], name="metric_series_by_value"
            )
        ]

    def __str__(self) -> str:
        return self.name


class Packed(models.Model):
    """Points of a series in one row."""

    series: models.ForeignKey[MetricSeries]
    series_id: int
    index = models.PositiveIntegerField()
    first_step = models.BigIntegerField()
    last_step = models.BigIntegerField()
    count = models.PositiveIntegerField()
    minimum = models.FloatField(null=True)
    maximum = models.FloatField(null=True)
    steps = models.BinaryField()
    values = models.BinaryField()
    times = models.BinaryField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.first_step}-{self.last_step}"

    @property
    def points(self) -> Points:
        return Points(
            np.frombuffer(self.steps, "<i8"),
            np.frombuffer(self.values, "<f8"),
            np.frombuffer(self.times, "<f8"),
        )

    @points.setter
    def points(self, points: Points) -> None:
        """Also sets the count, the steps it spans, and the extremes of its finite values."""
        self.count = len(points)
        self.first_step, self.last_step = int(points.steps[0]), int(points.steps[-1])
        finite = points.values[np.isfinite(points.values)]
        self.minimum = float(finite.min()) if finite.size else None
        self.maximum = float(finite.max()) if finite.size else None
        self.steps = points.steps.astype("<i8").tobytes()
        self.values = points.values.astype("<f8").tobytes()
        self.times = points.times.astype("<f8").tobytes()


class MetricChunk(Packed):
    series = models.ForeignKey(MetricSeries, on_delete=models.CASCADE, related_name="chunks")

    class Meta:
        ordering: ClassVar = ["index"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["series", "index"], name="metric_chunk_once")
        ]
        indexes: ClassVar = [
            # What is new is found without passing over what is old.
            models.Index(fields=["series", "last_step"], name="metric_chunk_by_step")
        ]


class MetricOutline(Packed):
    """Of full chunks `index * CHUNKS` to `(index + 1) * CHUNKS`, as far as they are there."""

    series = models.ForeignKey(MetricSeries, on_delete=models.CASCADE, related_name="outlines")

    class Meta:
        ordering: ClassVar = ["index"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["series", "index"], name="metric_outline_once")
        ]


class LogChunk(models.Model):
    """Console lines of a run, some hundreds a row: `[{"n", "time", "level", "text"}]`."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="log_chunks")
    index = models.PositiveIntegerField()
    first_line = models.BigIntegerField()
    count = models.PositiveIntegerField()
    lines = models.JSONField()

    class Meta:
        ordering: ClassVar = ["index"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "index"], name="log_chunk_once")
        ]

    def __str__(self) -> str:
        return f"lines from {self.first_line}"
