"""A map of a dataset version: a vector of each row, and where it stands on a plane."""

from typing import Any, ClassVar, Self

from django.db import models
from django.db.models.functions import Now

from distillhub.lib.leases import LeasedQuerySet
from projects.models import DatasetVersion, ModelVersion, User
from training.models.work import Work


class RowMapQuerySet(LeasedQuerySet["RowMap"]):
    def visible_to(self, user: User) -> Self:
        return self.filter(dataset_version__dataset__project__memberships__user=user.pk)

    def ready(self) -> Self:
        return self.filter(status=RowMap.Status.READY)


class RowMap(Work):
    dataset_version = models.ForeignKey(
        DatasetVersion, on_delete=models.CASCADE, related_name="maps"
    )
    version = models.ForeignKey(
        ModelVersion,
        on_delete=models.CASCADE,
        null=True,
        related_name="maps",
        help_text="The model that makes the vectors; none: the built-in way.",
    )
    plane = models.CharField(max_length=20, help_text="How vectors are brought to two dimensions.")
    key = models.CharField(
        max_length=64, help_text="sha256 of the rows' fingerprint, the model's files and the plane."
    )
    files = models.JSONField(default=list, help_text='[{"name", "sha256", "bytes"}]')
    last_used = models.DateTimeField(db_default=Now())

    objects = RowMapQuerySet.as_manager()  # type: ignore[assignment,misc]

    class Meta:
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset_version", "key"], name="row_map_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["status", "lease_until"], name="row_map_by_claim"),
            models.Index(fields=["key"], name="row_map_by_key"),
        ]

    def __str__(self) -> str:
        return f"{self.dataset_version.reference} by {self.made_by}"

    @property
    def made_by(self) -> str:
        return self.version.reference if self.version is not None else "built-in"

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(file["bytes"] for file in self.files)

    def file(self, name: str) -> dict[str, Any] | None:
        return next((one for one in self.files if one["name"] == name), None)

    @property
    def reads_words(self) -> bool:
        """Whether typed words can be placed on it without asking a model."""
        return self.file("words.npy") is not None
