"""A view of runs that a project keeps by name: what an address asks for."""

from typing import Any, ClassVar

from django.db import models

from projects.models import Project, User


class SavedView(models.Model):
    """Everybody in the project sees it under its name."""

    class Page(models.TextChoices):
        RUNS = "runs"  # the table of runs
        COMPARE = "compare"  # runs side by side

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="saved_views")
    page = models.CharField(max_length=8, choices=Page.choices, default=Page.RUNS)
    name = models.CharField(max_length=100)
    query = models.TextField(max_length=4000, help_text="What stands behind the address's ?.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at: Any = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "page", "name"], name="saved_view_once")
        ]

    def __str__(self) -> str:
        return self.name
