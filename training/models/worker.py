"""A process on a machine that executes runs, how busy it was, and what happened to it."""

from typing import ClassVar

from django.db import models

from projects.models import User


class Worker(models.Model):
    class Drain(models.TextChoices):
        """What becomes of the runs of a worker that takes nothing new."""

        AFTER = "after"  # each ends here
        NOW = "now"  # each writes a checkpoint and goes on elsewhere

    name = models.CharField(max_length=200, unique=True)
    host = models.CharField(max_length=200)
    pid = models.PositiveIntegerField()
    queues = models.JSONField(default=list)
    capacity = models.PositiveIntegerField(default=1, help_text="Runs at once.")
    machine = models.JSONField(default=dict, help_text="cpus, memory_bytes, gpus, versions")
    load = models.JSONField(default=dict, help_text="cpu_percent, memory_percent, now")
    started_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField()
    stopped_at = models.DateTimeField(null=True)
    drained_at = models.DateTimeField(null=True, help_text="Since when it takes nothing new.")
    drain = models.CharField(max_length=5, choices=Drain.choices, blank=True)

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def is_leaving(self) -> bool:
        """Its runs are to go on elsewhere."""
        return self.drain == self.Drain.NOW


class WorkerEvent(models.Model):
    """One line of what happened to a worker, in plain words, and who did it."""

    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=30)
    sentence = models.CharField(max_length=500)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.sentence


class WorkerLoad(models.Model):
    """How busy a worker was in one stretch of time: `{"times": [...], "series": {name: [...]}}`, a
    sample every so many seconds. An hour of one kind and a day of the other are a dozen rows."""

    worker = models.ForeignKey(Worker, on_delete=models.CASCADE, related_name="loads")
    every = models.PositiveIntegerField(help_text="Seconds between two samples.")
    begins = models.BigIntegerField(help_text="Seconds since the epoch, by the database's clock.")
    samples = models.JSONField()

    class Meta:
        ordering: ClassVar = ["begins"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["worker", "every", "begins"], name="worker_load_once")
        ]

    def __str__(self) -> str:
        return f"{self.worker_id} from {self.begins}"
