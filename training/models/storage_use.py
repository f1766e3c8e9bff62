"""What takes room, as each machine and the last sweep of storage told. For people to see, and to
ask that something goes; what lies there is the truth."""

from typing import ClassVar

from django.db import models

from projects.models import Project


class StorageUse(models.Model):
    """One kind of files in one place, of one project or of none."""

    class Kind(models.TextChoices):
        # On a machine
        RUNNING = "running", "Folders of runs that are not over"
        ENDED = "ended", "Checkpoints and inputs of failed and cancelled runs"
        JOURNALS = "journals", "Journals and console files of runs that are over"
        CACHE = "cache", "Copies of what lies in the bucket"
        PASSING = "passing", "Uploads and imports on their way"
        # In storage
        NAMED = "named", "Datasets, models, exports and artifacts"
        ORPHANS = "orphans", "Files that nothing names any more"
        RECENT = "recent", "Files that nothing names yet"
        CHECKPOINTS = "checkpoints", "Checkpoints of runs"

    #: What may be freed without harm to what is finished or goes on.
    FREEABLE: ClassVar = {Kind.ENDED, Kind.JOURNALS, Kind.CACHE, Kind.ORPHANS}

    home = models.CharField(
        max_length=36, blank=True, help_text="Id of a machine's home folder; empty for storage."
    )
    host = models.CharField(max_length=200, blank=True)
    kind = models.CharField(max_length=20, choices=Kind.choices)
    project = models.ForeignKey(Project, on_delete=models.CASCADE, null=True, related_name="+")
    bytes = models.BigIntegerField(default=0)
    files = models.BigIntegerField(default=0)
    told_at = models.DateTimeField()
    unwanted = models.BooleanField(default=False, help_text="To be freed by who looks after it.")

    class Meta:
        ordering: ClassVar = ["home", "kind", "pk"]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} on {self.host or 'storage'}"

    @property
    def is_freeable(self) -> bool:
        return self.kind in self.FREEABLE and self.bytes > 0
