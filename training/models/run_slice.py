"""Parts of a dataset as they were when a run was launched, and what the run is worth on each."""

from typing import Any, ClassVar

from django.db import models

from training.models.run import Run


class RunSlice(models.Model):
    """A slice whose conditions are kept with the run: what becomes of the dataset's own changes
    nothing here. Without scores until the run has been evaluated."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="slices")
    name = models.CharField(max_length=100)
    conditions: Any = models.JSONField(help_text="As the operation `filter` takes them.")
    told = models.TextField(help_text="The conditions in words.")
    scores: Any = models.JSONField(null=True, help_text="As worker/run_slices.py makes them.")

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return self.name
