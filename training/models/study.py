"""A study: runs that answer one question together."""

from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models.functions import Now

from projects.models import Event, Project, User


class StudyQuerySet(models.QuerySet["Study"]):
    def visible_to(self, user: User) -> "StudyQuerySet":
        return self.filter(project__memberships__user=user.pk)


class Study(models.Model):
    class Status(models.TextChoices):
        RUNNING = "running"  # some of its runs are not over
        FINISHED = "finished"
        FAILED = "failed"  # none of its runs was finished, so there is nothing to say

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="studies")
    number = models.PositiveIntegerField()
    kind = models.CharField(max_length=20)  # of services/studies.py, no choices: kinds are added
    name = models.CharField(max_length=200)
    notes = models.TextField(max_length=20_000, blank=True)
    asked = models.JSONField(help_text="What it was launched with, complete.")
    status = models.CharField(max_length=8, choices=Status.choices, default=Status.RUNNING)
    report = models.JSONField(null=True, help_text="Its comparisons and verdict, once it is over.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)
    stopped_at = models.DateTimeField(null=True, help_text="A sweep that asks no more trials.")

    objects = StudyQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "number"], name="study_number_once")
        ]

    def __str__(self) -> str:
        return f"study {self.number}"

    @property
    def is_over(self) -> bool:
        return self.status != self.Status.RUNNING

    @property
    def verdict(self) -> dict[str, Any] | None:
        return (self.report or {}).get("verdict")

    def settle(self, report: dict[str, Any], *, is_told: bool) -> bool:
        """Write what came of it; of two that do so at the same moment at most one gets True."""
        status = self.Status.FINISHED if is_told else self.Status.FAILED
        going_on = Study.objects.filter(pk=self.pk, status=self.Status.RUNNING)
        with transaction.atomic():
            settled = bool(going_on.update(status=status, report=report, finished_at=Now()))
            if settled:
                self.status, self.report = status, report
                said = (report.get("verdict") or {}).get("sentence") or report.get("error")
                self.announce(f"study.{status}", str(said or "All its runs are over."))
        return settled

    def announce(self, kind: str, sentence: str, *, by: User | None = None) -> None:
        """Let the project hear of it."""
        verdict = self.verdict
        Event.objects.tell(
            project_id=self.project_id,
            kind=kind,
            subject=str(self.number),
            title=self.name,
            sentence=sentence,
            by=by,
            data={
                "number": self.number,
                "kind": self.kind,
                "name": self.name,
                "status": str(self.status),
                "runs": self.runs.count(),
                "verdict": dict(verdict) if verdict else None,
                "by": self.created_by.username,
            },
        )

    def reopen(self) -> None:
        """One of its runs goes on."""
        over = Study.objects.filter(pk=self.pk).exclude(status=self.Status.RUNNING)
        over.update(status=self.Status.RUNNING, report=None, finished_at=None)
