"""Rows of a monitor that a teacher behind an API is asked about."""

from typing import Any, ClassVar

from django.db import models

from projects.models import ModelVersion
from training.models.monitor import Monitor
from training.models.work import Work


class TeacherQuestion(Work):
    """Some rows of the traffic, or the canaries: rows of the reference whose answers tell whether
    the service is still the same. A worker asks; what is answered is written before it is used, so
    that another goes on where one died."""

    class Kind(models.TextChoices):
        ROWS = "rows", "Rows that came"
        CANARIES = "canaries", "Rows of the reference"

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="questions")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    version = models.ForeignKey(
        ModelVersion, on_delete=models.CASCADE, related_name="+", help_text="Who is asked."
    )
    rows = models.PositiveIntegerField(help_text="That it is asked about.")
    body = models.BinaryField(
        default=bytes, help_text="JSON Lines, compressed by zlib; nothing once they are answered."
    )
    answers: Any = models.JSONField(
        default=dict, help_text='Of canaries: {"first": {id: label}, "again": {id: label}}'
    )

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["status", "lease_until"], name="teacher_question_by_claim"),
            models.Index(fields=["monitor", "kind", "-id"], name="teacher_question_newest"),
        ]

    def __str__(self) -> str:
        return f"{self.rows} {self.kind} of {self.monitor}"
