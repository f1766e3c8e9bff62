"""Keys of the APIs that teachers answer through."""

from typing import ClassVar

from django.db import models

from projects.models.people import User
from projects.models.registry import RegisteredModel


class ApiKey(models.Model):
    """The key of a model for one place, sealed (distillhub/lib/secrets.py). A version whose address
    is elsewhere finds no key here: one that was stored is never sent to another host."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="api_keys")
    origin = models.CharField(max_length=300, help_text="https://host:port, where it is sent.")
    sealed = models.TextField()
    ending = models.CharField(max_length=4, blank=True, help_text="Its last characters, to show.")
    changed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["origin"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "origin"], name="api_key_once")
        ]

    def __str__(self) -> str:
        return f"Key …{self.ending} for {self.origin}"
