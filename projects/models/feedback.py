"""What people say is right of inputs that a model was tried on: rows of a next version."""

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models import Q

from projects.models.dataset import DatasetVersion
from projects.models.people import User
from projects.models.project import Project


class FeedbackQuerySet(models.QuerySet["Feedback"]):
    def waiting(self) -> Self:
        """In no version yet, or in one that failed."""
        return self.filter(Q(version=None) | Q(version__status=DatasetVersion.Status.FAILED))


class Feedback(models.Model):
    """One input, what is right, and what models answered to it. The input is a text, the cells of a
    table's row, or a stored picture or sound."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="feedback")
    task = models.CharField(max_length=50, help_text="A Hugging Face pipeline tag.")
    text = models.TextField(blank=True)
    cells: Any = models.JSONField(null=True, blank=True, help_text="{column: value}.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of a picture or sound.")
    label = models.TextField(help_text="What is right, as a dataset writes it.")
    said: Any = models.JSONField(default=list, help_text='[{"model", "label", "probability"}]')
    note = models.CharField(max_length=1000, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    version = models.ForeignKey(
        DatasetVersion, on_delete=models.SET_NULL, related_name="+", null=True, blank=True
    )

    objects = FeedbackQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-pk"]
        verbose_name_plural = "feedback"

    def __str__(self) -> str:
        return f"feedback {self.pk}"

    @property
    def is_waiting(self) -> bool:
        return self.version is None or self.version.status == DatasetVersion.Status.FAILED

    @property
    def input(self) -> str:
        """`text`, `table` or `file`."""
        return "file" if self.sha256 else "text" if self.cells is None else "table"
