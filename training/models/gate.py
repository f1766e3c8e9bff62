"""A teacher gate: a trained version asked about a dataset before it teaches there. This row, not a
queue message, owns its work."""

from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from projects.models import DatasetVersion, ModelVersion, User


class TeacherGateQuerySet(models.QuerySet["TeacherGate"]):
    def visible_to(self, user: User) -> "TeacherGateQuerySet":
        return self.filter(version__model__project__memberships__user=user.pk)

    def abandoned(self) -> "TeacherGateQuerySet":
        """Held by a worker whose claim ran out, by the database's clock."""
        return self.filter(status=TeacherGate.Status.WORKING, claimed_until__lt=Now())

    def held(self, *, pk: int, attempt: int) -> "TeacherGateQuerySet":
        """The fence: the gate as long as this attempt is the one that works at it."""
        return self.filter(pk=pk, attempt=attempt, status=TeacherGate.Status.WORKING)


class TeacherGate(models.Model):
    class Status(models.TextChoices):
        QUEUED = "queued"
        WORKING = "working"
        READY = "ready"
        FAILED = "failed"

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="gates")
    dataset_version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="+")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    stage = models.CharField(max_length=100, blank=True, help_text="What is being done now.")
    error = models.JSONField(null=True, help_text='{"code", "detail"}')
    report = models.JSONField(null=True, help_text="What the engine found.")

    # Who works at it now.
    attempt = models.PositiveIntegerField(default=0)
    losses = models.PositiveIntegerField(default=0, help_text="Workers that died with it.")
    claimed_until = models.DateTimeField(null=True)
    queued_at = models.DateTimeField(auto_now_add=True)

    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    objects = TeacherGateQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["status", "claimed_until"], name="gate_by_claim"),
        ]

    def __str__(self) -> str:
        return f"{self.version.reference} on {self.dataset_version.reference}"

    @property
    def is_final(self) -> bool:
        return self.status in (self.Status.READY, self.Status.FAILED)
