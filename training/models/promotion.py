"""A promotion: a version that was held against an alias's rules and its champion, and what came of
it."""

from typing import Any, ClassVar

from django.db import models

from projects.models import ModelVersion, User


class Promotion(models.Model):
    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="promotions")
    alias = models.CharField(max_length=100)
    champion = models.ForeignKey(
        ModelVersion,
        on_delete=models.SET_NULL,
        null=True,
        related_name="defences",
        help_text="What the alias meant then.",
    )
    rules: Any = models.JSONField(help_text="As they were then.")
    checks: Any = models.JSONField(help_text='[{"rule", "passed", "sentence", ...}]')
    passed = models.BooleanField(help_text="Whether every rule held.")
    moved = models.BooleanField(help_text="Whether the alias means this version since.")
    reason = models.TextField(max_length=2000, blank=True, help_text="Of an owner who overrode.")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"{self.version.reference} to {self.alias}"
