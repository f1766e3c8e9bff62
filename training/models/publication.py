"""A publication: a version that is sent to a repository of a Hugging Face style hub."""

from typing import ClassVar

from django.db import models

from projects.models import ModelVersion
from training.models.export import Export
from training.models.work import Work


class Publication(Work):
    # What is asked. The token is kept with the model, sealed, for the hub's address alone.
    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="publications")
    endpoint = models.CharField(max_length=500, help_text="The hub's address, as it was then.")
    repository = models.CharField(max_length=200, help_text="owner/name")
    revision = models.CharField(max_length=200, default="main", help_text="The branch.")
    private = models.BooleanField(default=True, help_text="Of a repository that is made for it.")
    weights = models.BooleanField(default=True, help_text="Whether the model's own files go.")
    exports = models.ManyToManyField(Export, related_name="publications")
    message = models.CharField(max_length=500, blank=True)
    card = models.TextField(help_text="README.md as it is sent.")

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["status", "lease_until"], name="publication_by_claim"),
        ]

    def __str__(self) -> str:
        return f"{self.version.reference} to {self.repository}"
