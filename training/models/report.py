"""A report: what a team tells of a study or of runs, in Markdown with live charts."""

from typing import Any, ClassVar

from django.db import models

from projects.models import Project, User
from training.models.study import Study


class ReportQuerySet(models.QuerySet["Report"]):
    def visible_to(self, user: User) -> "ReportQuerySet":
        return self.filter(project__memberships__user=user.pk)


class Report(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="reports")
    number = models.PositiveIntegerField()
    title = models.CharField(max_length=200)
    body = models.TextField(max_length=100_000, help_text="Markdown, with lines for live parts.")
    study = models.ForeignKey(
        Study, on_delete=models.SET_NULL, null=True, related_name="reports", help_text="It is of."
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at: Any = models.DateTimeField(auto_now_add=True)
    changed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    changed_at: Any = models.DateTimeField(auto_now=True)
    # The link itself is shown once and stored nowhere: this only recognises it.
    share_digest = models.CharField(
        max_length=64, null=True, unique=True, help_text="sha256 of the public link's secret."
    )
    shared_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+", null=True)
    shared_at = models.DateTimeField(null=True)

    objects = ReportQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "number"], name="report_number_once")
        ]

    def __str__(self) -> str:
        return f"report {self.number}"

    @property
    def is_shared(self) -> bool:
        """Whether there is a link that anybody may open."""
        return self.share_digest is not None
