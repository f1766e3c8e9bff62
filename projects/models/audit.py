"""Who did what: rows that are only added, each holding the digest of the one before."""

from typing import Any, ClassVar

from django.db import models


class AuditEntry(models.Model):
    """One act. Nothing in it points at another table: what it tells of may be deleted.

    `digest` is sha256 over the digest before it and the other columns in canonical JSON
    (services/audit.py). The database refuses to change or delete a row.
    """

    number = models.BigIntegerField(unique=True, help_text="Without gaps, from 1.")
    at = models.DateTimeField()
    actor_id = models.BigIntegerField(null=True, help_text="Null: nobody who signed in.")
    actor = models.CharField(max_length=150, help_text="The username, as it was.")
    via = models.CharField(max_length=20, help_text="page, rest, mlflow, command or worker.")
    token = models.CharField(max_length=120, blank=True, help_text="Name and prefix, if by one.")
    address = models.CharField(max_length=45, blank=True, help_text="Network address.")
    request_id = models.CharField(max_length=64, blank=True)
    action = models.CharField(max_length=60, help_text="run.cancel, member.add, sign_in.failed, …")
    project_id = models.BigIntegerField(null=True)
    project = models.CharField(max_length=100, blank=True, help_text="The slug, as it was.")
    subject = models.CharField(max_length=300, blank=True)
    detail: Any = models.JSONField(default=dict, help_text="What was asked; never a secret.")
    previous = models.CharField(max_length=64)
    digest = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering: ClassVar = ["-number"]
        indexes: ClassVar = [
            models.Index(fields=["project_id", "-number"], name="audit_by_project"),
            models.Index(fields=["actor_id", "-number"], name="audit_by_actor"),
            models.Index(fields=["action", "-number"], name="audit_by_action"),
        ]

    def __str__(self) -> str:
        return f"{self.number}: {self.actor} {self.action}"


class AuditHead(models.Model):
    """The end of the chain: its one row is locked by whoever adds to it."""

    number = models.BigIntegerField(default=0)
    digest = models.CharField(max_length=64, default="0" * 64)

    def __str__(self) -> str:
        return f"up to {self.number}"


class AuditPromise(models.Model):
    """The entry of an act that is true, while its request is being answered: what came of it is
    known with the answer. One that is old has no process any more that would keep it."""

    key = models.CharField(max_length=32, primary_key=True)
    at = models.DateTimeField(help_text="When it was done; the entry will say so.")
    made_at = models.DateTimeField(help_text="The same by the database's clock.")
    told: Any = models.JSONField(help_text="What the entry will tell, without its place.")

    def __str__(self) -> str:
        return f"{self.told.get('actor', '')} {self.told.get('action', '')}"
