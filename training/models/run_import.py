"""Runs that another tracker kept, brought here: what was sent, and which runs came of it."""

from typing import Any, ClassVar, Self

from django.db import models

from distillhub.lib.leases import LeasedQuerySet
from projects.models import Project, User
from training.models.run import Run
from training.models.work import Work


class RunImportQuerySet(LeasedQuerySet["RunImport"]):
    def visible_to(self, user: User) -> Self:
        return self.filter(project__memberships__user=user.pk)


class RunImport(Work):
    """A source that a worker looks into, and then takes runs from. Its `report` says what was
    found, its `outcome` what was taken."""

    class Step(models.TextChoices):
        LOOK = "look"
        TAKE = "take"

    class Kind(models.TextChoices):
        FILE = "file"
        SERVER = "server"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="imports")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    place = models.CharField(max_length=500, help_text="The file's name, or the server's address.")
    name = models.CharField(
        max_length=200, blank=True, help_text="Of runs that have none, such as those of a table."
    )
    files: Any = models.JSONField(default=list, help_text='[{"name", "sha256", "bytes"}]')
    experiments: Any = models.JSONField(default=list, help_text="Names at a server; empty for all.")
    sealed = models.TextField(blank=True, help_text="The server's token, sealed, until it is over.")
    step = models.CharField(max_length=4, choices=Step.choices, default=Step.LOOK)
    straight_on = models.BooleanField(default=False, help_text="Take what is found at once.")
    chosen: Any = models.JSONField(null=True, help_text="Keys of the runs to take; null for all.")
    outcome: Any = models.JSONField(null=True, help_text='{"new", "grown", "same", "points"}')

    objects = RunImportQuerySet.as_manager()  # type: ignore[assignment,misc]

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [
            models.Index(fields=["status", "lease_until"], name="run_import_by_claim"),
        ]

    def __str__(self) -> str:
        return f"import {self.pk}"

    @property
    def is_taken(self) -> bool:
        return self.outcome is not None and self.status == self.Status.READY


class ImportedRun(models.Model):
    """Where a run came from: its key there, by which it is found again."""

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="imported"
    )
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=300, help_text="The tracker, and its id of the run.")
    place = models.CharField(max_length=500, help_text="The file or server it came from last.")
    about: Any = models.JSONField(default=dict, help_text="What else was known of it there.")
    by_import = models.ForeignKey(
        RunImport, on_delete=models.SET_NULL, null=True, related_name="imported"
    )
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "key"], name="imported_run_once")
        ]

    def __str__(self) -> str:
        return self.key


def files_of(run: Run | int) -> str:
    """By what files of an imported run know it: its tracker's id may be in two projects."""
    return f"imported-{run if isinstance(run, int) else run.pk}"
