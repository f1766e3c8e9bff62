"""Files a run left: checkpoints, the model, its evaluation."""

from typing import ClassVar

from django.db import models

from training.models.run import Run


class Artifact(models.Model):
    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="artifacts")
    kind = models.CharField(max_length=30, help_text="model, evaluation, predictions, checkpoint")
    name = models.CharField(max_length=255, help_text="Path inside the run's output.")
    sha256 = models.CharField(max_length=64)
    bytes = models.BigIntegerField()
    step = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["kind", "name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "name"], name="artifact_name_once")
        ]

    def __str__(self) -> str:
        return self.name
