"""An export: a version of a model as it is shipped."""

from typing import Any, ClassVar

from django.db import models

from projects.models import DatasetVersion, ModelVersion
from training.models.work import Work


class Export(Work):
    # What is asked: complete, every reference pinned.
    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="exports")
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

    # What came of it.
    files = models.JSONField(default=list, help_text='[{"name", "sha256", "bytes"}]')

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["status", "lease_until"], name="export_by_claim"),
        ]

    def __str__(self) -> str:
        return f"{self.version.reference} as {self.format}"

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(file["bytes"] for file in self.files)

    @property
    def wish(self) -> dict[str, Any]:
        """As the engine is asked."""
        return {"format": self.format, "options": self.options, "compress": self.compress}
