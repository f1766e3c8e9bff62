"""Uploads that go on after they were cut off (https://tus.io/protocols/resumable-upload)."""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from distillhub.lib import storage
from projects.models.people import User


class ResumableUploadQuerySet(models.QuerySet["ResumableUpload"]):
    def expired(self) -> "ResumableUploadQuerySet":
        return self.filter(expires_at__lt=Now())


class ResumableUpload(models.Model):
    """A file that one person sends piece by piece. Its pieces lie in storage (`room`) until it is
    used, discarded or forgotten, so that any web process may take the next one."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    name = models.CharField(max_length=255)
    bytes = models.BigIntegerField(help_text="Of the whole file.")
    received = models.BigIntegerField(default=0, help_text="Bytes that are stored, from the first.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of the file, if it was told.")

    objects = ResumableUploadQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return self.name

    @property
    def room(self) -> str:
        return f"uploads/{self.pk}"

    @property
    def is_complete(self) -> bool:
        return self.received == self.bytes

    def discard(self) -> None:
        """Forget it and its pieces. Raises storage.Away."""
        room = self.room
        self.delete()
        storage.empty(room)


class UploadedPiece(models.Model):
    upload = models.ForeignKey(ResumableUpload, on_delete=models.CASCADE, related_name="pieces")
    offset = models.BigIntegerField()
    bytes = models.BigIntegerField()
    sha256 = models.CharField(max_length=64)

    class Meta:
        ordering: ClassVar = ["offset"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["upload", "offset"], name="upload_piece_once")
        ]

    def __str__(self) -> str:
        return f"{self.upload} from {self.offset}"
