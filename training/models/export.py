"""An export: a version of a model as it is shipped. This row, not a queue message, owns its
making."""

from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Now

from projects.models import DatasetVersion, ModelVersion, User


class ExportQuerySet(models.QuerySet["Export"]):
    def visible_to(self, user: User) -> "ExportQuerySet":
        return self.filter(version__model__project__memberships__user=user.pk)

    def unfinished(self) -> "ExportQuerySet":
        return self.filter(status__in=[Export.Status.QUEUED, Export.Status.WORKING])

    def abandoned(self) -> "ExportQuerySet":
        """Held by a worker whose claim ran out, by the database's clock."""
        return self.filter(status=Export.Status.WORKING, claimed_until__lt=Now())

    def held(self, *, pk: int, attempt: int) -> "ExportQuerySet":
        """The fence: the export as long as this attempt is the one that makes it."""
        return self.filter(pk=pk, attempt=attempt, status=Export.Status.WORKING)


class Export(models.Model):
    class Status(models.TextChoices):
        QUEUED = "queued"
        WORKING = "working"
        READY = "ready"
        FAILED = "failed"

    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="exports")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    stage = models.CharField(max_length=100, blank=True, help_text="What is being done now.")
    error = models.JSONField(null=True, help_text='{"code", "detail"}')

    # What is asked: complete, every reference pinned.
    format = models.CharField(max_length=50, help_text="Key of the exporter.")
    options = models.JSONField(default=dict)
    compress = models.JSONField(null=True, help_text='{"kind", "options"}')
    dataset_version = models.ForeignKey(
        DatasetVersion,
        on_delete=models.PROTECT,
        related_name="+",
        help_text="Whose rows calibrate it, train it and judge it.",
    )
    teacher = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, null=True, related_name="exports_as_teacher"
    )

    # Who makes it now.
    attempt = models.PositiveIntegerField(default=0)
    losses = models.PositiveIntegerField(default=0, help_text="Workers that died with it.")
    claimed_until = models.DateTimeField(null=True)
    queued_at = models.DateTimeField(auto_now_add=True)

    # What came of it.
    files = models.JSONField(default=list, help_text='[{"name", "sha256", "bytes"}]')
    report = models.JSONField(null=True, help_text="What the engine measured.")

    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    objects = ExportQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["status", "claimed_until"], name="export_by_claim"),
        ]

    def __str__(self) -> str:
        return f"{self.version.reference} as {self.format}"

    @property
    def is_final(self) -> bool:
        return self.status in (self.Status.READY, self.Status.FAILED)

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(file["bytes"] for file in self.files)

    @property
    def wish(self) -> dict[str, Any]:
        """As the engine is asked."""
        return {"format": self.format, "options": self.options, "compress": self.compress}
