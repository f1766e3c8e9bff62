"""Calls that an application made to its big model, as it sent them to the inbox."""

from typing import Any, ClassVar

from django.db import models
from django.db.models.fields.json import KeyTransform

from projects.models.project import Project

SHOWN = 2000  # characters of question and answer that lists show and searches find


class StoredCompletionQuerySet(models.QuerySet["StoredCompletion"]):
    def found_by(
        self,
        *,
        model: str = "",
        q: str = "",
        tag: str = "",
        metadata: dict[str, str] | None = None,
        since: Any = None,
        until: Any = None,
        finish_reason: str = "",
    ) -> "StoredCompletionQuerySet":
        """Those that every given condition holds for."""
        found = self
        if model:
            found = found.filter(model=model)
        if q:
            found = found.filter(models.Q(asked__icontains=q) | models.Q(answered__icontains=q))
        if tag:
            found = found.filter(tag_line__contains=f"\n{tag}\n")
        for place, (key, value) in enumerate((metadata or {}).items()):
            told = {f"told_{place}": KeyTransform(key, "metadata")}
            found = found.alias(**told).filter(**{f"told_{place}": value})
        if since:
            found = found.filter(called_at__gte=since)
        if until:
            found = found.filter(called_at__lt=until)
        if finish_reason:
            found = found.filter(finish_reason=finish_reason)
        return found

    def beyond(self, last: "StoredCompletion", *, newer: bool) -> "StoredCompletionQuerySet":
        """Those called after one (or before it), as they stand in order."""
        word = "gt" if newer else "lt"
        later = models.Q(**{f"called_at__{word}": last.called_at})
        same = models.Q(called_at=last.called_at, **{f"pk__{word}": last.pk})
        return self.filter(later | same)


class StoredCompletion(models.Model):
    """One call of a chat model with its answer, in OpenAI's format."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="completions")
    key = models.CharField(max_length=200, help_text="The caller's; sent twice it is one call.")
    sha256 = models.CharField(max_length=64, help_text="Of request and answer.")
    called_at = models.DateTimeField()
    received_at = models.DateTimeField(auto_now_add=True)
    model = models.CharField(max_length=200)
    request = models.JSONField(help_text='{"messages": [...], ...}')
    response = models.JSONField(help_text='{"choices": [{"message": {...}}], "usage": ...}')
    asked = models.CharField(max_length=SHOWN, blank=True, help_text="The last words of a user.")
    answered = models.CharField(max_length=SHOWN, blank=True)
    finish_reason = models.CharField(max_length=50, blank=True)
    input_tokens = models.PositiveIntegerField(null=True, blank=True)
    output_tokens = models.PositiveIntegerField(null=True, blank=True)
    latency_ms = models.PositiveIntegerField(null=True, blank=True)
    metadata = models.JSONField(default=dict)
    tag_line = models.TextField(blank=True, help_text="Each tag between line ends.")

    objects = StoredCompletionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-called_at", "-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "key"], name="completion_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["project", "-called_at", "-id"], name="completion_newest"),
            models.Index(fields=["project", "model"], name="completion_model"),
        ]

    def __str__(self) -> str:
        return self.key

    @property
    def tags(self) -> list[str]:
        return self.tag_line.split()

    @tags.setter
    def tags(self, tags: list[str]) -> None:
        self.tag_line = "".join(f"\n{tag}" for tag in tags) + ("\n" if tags else "")
