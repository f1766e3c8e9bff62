"""A teacher gate: a trained version asked about a dataset before it teaches there."""

from typing import ClassVar

from django.db import models

from projects.models import DatasetVersion, ModelVersion
from training.models.work import Work


class TeacherGate(Work):
    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="gates")
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="+")

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["status", "lease_until"], name="gate_by_claim"),
        ]

    def __str__(self) -> str:
        return f"{self.version.reference} on {self.dataset_version.reference}"
