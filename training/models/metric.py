"""Metrics in chunks: about a thousand points a row, so that a million points are a thousand rows.

A chunk holds three packed little-endian arrays: steps (int64), values (float64, NaN and infinities
included) and times (float64, seconds since the epoch).
"""

from typing import ClassVar

from django.db import models

from training.models.run import Run


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
        return f"{self.series} {self.first_step}-{self.last_step}"


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
