"""Metrics in chunks: about a thousand points a row, so that a million points are a thousand rows.

A chunk holds three packed little-endian arrays: steps (int64), values (float64, NaN and infinities
included) and times (float64, seconds since the epoch).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from django.db import models
from numpy.typing import NDArray

from training.models.run import Run

POINTS = 1000  # in a full chunk: 24 kB, a few milliseconds to rewrite while it is the tail


@dataclass(frozen=True, slots=True)
class Points:
    """Parallel arrays, in order of steps, which are strictly increasing."""

    steps: NDArray[np.int64]
    values: NDArray[np.float64]
    times: NDArray[np.float64]  # seconds since the epoch

    def __getitem__(self, part: "slice | NDArray[np.int64]") -> "Points":
        return Points(self.steps[part], self.values[part], self.times[part])

    def __len__(self) -> int:
        return int(self.steps.size)

    def after(self, step: int) -> "Points":
        return self[int(np.searchsorted(self.steps, step, side="right")) :]

    def until(self, step: int) -> "Points":
        return self[: int(np.searchsorted(self.steps, step, side="right"))]

    @classmethod
    def join(cls, pieces: "list[Points]") -> "Points":
        if not pieces:
            return cls(np.empty(0, np.int64), np.empty(0), np.empty(0))
        if len(pieces) == 1:
            return pieces[0]
        return cls(
            np.concatenate([piece.steps for piece in pieces]),
            np.concatenate([piece.values for piece in pieces]),
            np.concatenate([piece.times for piece in pieces]),
        )


class MetricSeries(models.Model):
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="series")
    name = models.CharField(max_length=200)
    count = models.BigIntegerField(default=0)
    last_step = models.BigIntegerField(default=-1)
    last_value = models.FloatField(null=True, help_text="Null when not finite.")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "name"], name="metric_series_once")
        ]

    def __str__(self) -> str:
        return self.name


class MetricChunk(models.Model):
    series = models.ForeignKey(MetricSeries, on_delete=models.CASCADE, related_name="chunks")
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
        ordering: ClassVar = ["index"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["series", "index"], name="metric_chunk_once")
        ]

    def __str__(self) -> str:
        return f"{self.series_id} {self.first_step}-{self.last_step}"

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
