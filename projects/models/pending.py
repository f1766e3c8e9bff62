"""What a person wants changed in a version, before it becomes the next one."""

from typing import Any, ClassVar

from django.db import models

from projects.models.dataset import DatasetVersion
from projects.models.people import User


class PendingEdits(models.Model):
    """Of one person and version; others do not see them."""

    version = models.ForeignKey(
        DatasetVersion, on_delete=models.CASCADE, related_name="pending_edits"
    )
    by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    changes: Any = models.JSONField(
        default=list, help_text="As the operation `edit` takes them, in the order they are made."
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["version", "by"], name="pending_edits_once")
        ]

    def __str__(self) -> str:
        return f"{len(self.changes)} changes of {self.version_id}"
