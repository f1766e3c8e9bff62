"""A checkpoint that is kept in storage, from which any machine goes on with its run."""

from typing import ClassVar

from django.db import models

from training.models.run import Run


class Checkpoint(models.Model):
    """Written once every file of it is stored, and everything measured up to its step recorded."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="checkpoints")
    attempt = models.PositiveIntegerField(help_text="Of the run; its files lie in its own room.")
    step = models.BigIntegerField()
    files = models.JSONField(help_text='[{"name", "sha256", "bytes"}], as in the job folder')
    bytes = models.BigIntegerField(help_text="Of all its files.")
    made_by = models.CharField(max_length=200, help_text="Name of the worker that stored it.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-step", "-attempt"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "attempt", "step"], name="checkpoint_once")
        ]

    def __str__(self) -> str:
        return f"checkpoint of step {self.step}"

    @property
    def room(self) -> str:
        """Where storage keeps its files."""
        return f"{room_of(self.run_id)}/{self.attempt}"


def room_of(run_id: int) -> str:
    """Where storage keeps the checkpoints of a run."""
    return f"checkpoints/{run_id}"
