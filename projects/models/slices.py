"""Conditions on rows, saved by name."""

from typing import Any, ClassVar

from django.db import models

from projects.models.dataset import Dataset, reference_name
from projects.models.people import User


class Slice(models.Model):
    """A part of a dataset's rows, in every version those that the conditions then hold for."""

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="slices")
    name = models.CharField(max_length=100, validators=[reference_name])
    conditions: Any = models.JSONField(help_text="As the operation `filter` takes them.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "name"], name="slice_name_once")
        ]

    def __str__(self) -> str:
        return self.name
