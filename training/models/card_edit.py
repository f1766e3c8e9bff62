"""What people wrote on a model's card. Its facts are read from the rows each time."""

from typing import ClassVar

from django.db import models

from projects.models import ModelVersion, User


class CardEdit(models.Model):
    """One saved state of people's part of a card; the newest is what it says."""

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="card_edits")
    number = models.PositiveIntegerField()
    text = models.TextField(max_length=50_000, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "number"], name="card_edit_once")
        ]

    def __str__(self) -> str:
        return f"edit {self.number} of {self.version.reference}"
