"""A trial: one configuration that a sweep tries, and what came of it on validation rows."""

from typing import ClassVar

from django.db import models

from training.models.run import Run
from training.models.study import Study


class Trial(models.Model):
    class State(models.TextChoices):
        RUNNING = "running"  # its run is not over
        COMPLETE = "complete"
        PRUNED = "pruned"  # ended early, because it fell behind
        FAILED = "failed"
        CANCELLED = "cancelled"  # by a person

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="trials")
    number = models.PositiveIntegerField(help_text="From 1, of both ways of training together.")
    arm = models.CharField(max_length=50, help_text="As its run's.")
    parameters = models.JSONField(help_text="What of the configuration is tried, by path.")
    state = models.CharField(max_length=9, choices=State.choices, default=State.RUNNING)
    value = models.FloatField(null=True, help_text="The best on validation rows.")
    curve = models.JSONField(default=list, help_text="The value after each epoch.")
    run = models.OneToOneField(
        Run,
        on_delete=models.SET_NULL,
        null=True,
        related_name="trial",
        help_text="Null where its configuration could not be launched, or the run was deleted.",
    )
    told = models.CharField(max_length=500, blank=True, help_text="Why it is not complete.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["study", "number"], name="trial_number_once")
        ]

    def __str__(self) -> str:
        return f"trial {self.number}"

    @property
    def is_over(self) -> bool:
        return self.state != self.State.RUNNING
