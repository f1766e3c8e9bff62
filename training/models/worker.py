"""A process on a machine that executes runs."""

from typing import ClassVar

from django.db import models


class Worker(models.Model):
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

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name
