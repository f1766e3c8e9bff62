"""Datasets and their immutable versions.

A version's rows live in one Parquet file (docs/architecture.md, "The Parquet of a version"):
`row_id` int64, `split`, `label` (null when unknown), the task's inputs (`text`; `image` or `audio`
as encoded bytes; or a table's columns under their own names), `source` (the file inside an archive,
or the line of a table), and the other columns of the upload under their own names.
"""

import uuid
from typing import Any, ClassVar, Self

from django.core.validators import RegexValidator
from django.db import models

from distillhub.lib.errors import Conflict
from distillhub.lib.leases import Leased, LeasedQuerySet
from projects.models.people import User
from projects.models.project import Project

#: Names stand in references such as `banking77@3`, `run/12`: no slash, no `@`.
reference_name = RegexValidator(
    r"\A[A-Za-z0-9][A-Za-z0-9._-]*\Z",
    "Use letters, digits, dots, hyphens and underscores, beginning with a letter or digit.",
)


class DatasetQuerySet(models.QuerySet["Dataset"]):
    def visible_to(self, user: User) -> "DatasetQuerySet":
        return self.filter(project__memberships__user=user.pk)


class Dataset(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="datasets")
    name = models.CharField(max_length=100, validators=[reference_name])
    task = models.CharField(max_length=50, help_text="A Hugging Face pipeline tag.")
    description = models.TextField(max_length=2000, blank=True)
    #: The highest number of a version that was deleted: references keep their meaning.
    last_deleted_version = models.PositiveIntegerField(default=0, editable=False)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = DatasetQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "name"], name="dataset_name_once")
        ]

    def __str__(self) -> str:
        return self.name

    def next_number(self) -> int:
        """Of a version that is made now; ask with the dataset's row locked."""
        newest = self.versions.aggregate(number=models.Max("number"))["number"] or 0
        kept = type(self).objects.values_list("last_deleted_version", flat=True).get(pk=self.pk)
        return max(newest, kept) + 1


class Fixed(Conflict):
    """A ready version is asked to become another one; a change makes the next version instead."""

    code = "version_fixed"


#: What makes a version the version it is. Runs, fingerprints and lineage rely on it.
DEFINING = frozenset(
    {
        "dataset", "dataset_id", "number", "status", "source_name", "source_sha256",
        "source_bytes", "format", "reading", "file_sha256", "file_bytes", "fingerprint", "rows",
        "columns", "labels", "splits", "statistics", "issues", "issue_rows",
        "parent", "parent_id", "operation",
    }
)  # fmt: skip


class DatasetVersionQuerySet(LeasedQuerySet["DatasetVersion"]):
    def update(self, **values: Any) -> int:
        """As Django's, but refuses (Fixed) to redefine a version that is ready."""
        if DEFINING & values.keys() and self.ready().exists():
            raise Fixed("A ready version does not change; a change makes the next version.")
        return super().update(**values)

    def newest_of_each(self) -> "DatasetVersionQuerySet":
        """The newest version of every dataset, whatever its status."""
        later = DatasetVersion.objects.filter(
            dataset=models.OuterRef("dataset"), number__gt=models.OuterRef("number")
        )
        return self.filter(~models.Exists(later))

    def ingesting(self) -> "DatasetVersionQuerySet":
        return self.filter(status=DatasetVersion.Status.INGESTING)

    def running(self) -> Self:
        """Being made; what waits for it has the same status, and no lease."""
        return super().running().filter(lease_until__isnull=False)

    def visible_to(self, user: User) -> "DatasetVersionQuerySet":
        return self.filter(dataset__project__memberships__user=user.pk)

    def ready(self) -> "DatasetVersionQuerySet":
        return self.filter(status=DatasetVersion.Status.READY)


_FromQuerySet = models.Manager.from_queryset(DatasetVersionQuerySet)


class DatasetVersionManager(_FromQuerySet["DatasetVersion"]):
    """Leaves `issue_rows` for when it is asked for: it may be long, and lists never need it."""

    def get_queryset(self) -> DatasetVersionQuerySet:
        return DatasetVersionQuerySet(self.model, using=self._db).defer("issue_rows")


class DatasetVersion(Leased):
    """One fixed state of a dataset. Once ready, nothing that defines its rows changes."""

    class Status(models.TextChoices):
        INGESTING = "ingesting"
        READY = "ready"
        FAILED = "failed"

    CLAIMABLE: ClassVar = Status.INGESTING
    LEASED: ClassVar = [Status.INGESTING]

    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.INGESTING)
    stage = models.CharField(max_length=100, blank=True, help_text="What ingestion is doing now.")
    fraction = models.FloatField(default=0.0, help_text="Progress of ingestion, 0 to 1.")
    error = models.JSONField(null=True, blank=True, help_text='{"code", "detail", "line"?}')

    # What was uploaded and how it is read.
    source_name = models.CharField(max_length=255, blank=True)
    source_sha256 = models.CharField(max_length=64, blank=True, help_text="The upload's blob.")
    source_bytes = models.BigIntegerField(default=0)
    format = models.CharField(max_length=50, blank=True, help_text="Key of the ingest format.")
    reading = models.JSONField(
        default=dict, help_text="Delimiter, encoding, header, columns, splits: as corrected."
    )

    # What came of it.
    file_sha256 = models.CharField(max_length=64, blank=True, help_text="The Parquet's blob.")
    file_bytes = models.BigIntegerField(default=0)
    fingerprint = models.CharField(
        max_length=64, blank=True, help_text="sha256 of the rows, whatever the file's encoding."
    )
    rows = models.BigIntegerField(default=0)
    columns = models.JSONField(default=list, help_text='[{"name", "type", "role"}]')
    labels = models.JSONField(default=list, help_text="Sorted; a label's index is its class id.")
    splits = models.JSONField(default=dict, help_text='{name: {"rows", "label_counts"}}')
    statistics = models.JSONField(default=dict)
    issues = models.JSONField(
        default=list, help_text='[{"code", "severity", "count", "rows", "places", "detail"}]'
    )
    issue_rows = models.JSONField(
        default=dict, help_text='{code: {"rows", "better"?, "beside"?}}: more than is named.'
    )

    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True)
    operation = models.JSONField(null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    ready_at = models.DateTimeField(null=True, blank=True)

    objects = DatasetVersionManager()

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["dataset", "number"], name="dataset_version_once")
        ]

    def __str__(self) -> str:
        return self.reference

    def save(self, *args: Any, **kwargs: Any) -> None:
        """As Django's, but refuses (Fixed) to redefine a version that is ready."""
        if self.pk is not None:
            stored = type(self).objects.ready().filter(pk=self.pk).values(*DEFINING).first()
            asked = kwargs.get("update_fields")
            names = DEFINING - self.get_deferred_fields()
            names = names if asked is None else names & set(asked)
            if stored and any(stored[name] != self._stored_form(name) for name in names):
                raise Fixed("A ready version does not change; a change makes the next version.")
        super().save(*args, **kwargs)

    def _stored_form(self, name: str) -> Any:
        """A field's value as `values()` reads it: the key of a relation, not its object."""
        field = self._meta.get_field(name.removesuffix("_id"))
        assert isinstance(field, models.Field)
        return getattr(self, field.attname)

    @property
    def reference(self) -> str:
        return f"{self.dataset.name}@{self.number}"

    @property
    def input_column(self) -> str:
        """`text`, `image` or `audio`; empty for tables, and until it is ready."""
        return next((one["name"] for one in self.columns if one["role"] == "input"), "")

    @property
    def features(self) -> dict[str, str]:
        """The columns that a table's model learns from: {name: numeric|categorical}."""
        kinds = {"number": "numeric", "category": "categorical"}
        return {one["name"]: kinds[one["type"]] for one in self.columns if one["role"] == "feature"}

    @property
    def problem(self) -> str:
        """What a label is: `single_label`, `multi_label` or `regression`."""
        return str(self.reading.get("problem") or "single_label")

    def column_of(self, role: str) -> str:
        """The name of the column of a role; empty where there is none."""
        return next((str(one["name"]) for one in self.columns if one["role"] == role), "")

    @property
    def labelled(self) -> int:
        """Rows that have a label."""
        found = 0
        for split in self.splits.values():
            many = split.get("labelled")
            if many is None:  # of a version made before it was counted: all had one
                counted = sum(split["label_counts"].values())
                many = split["rows"] if self.problem == "regression" else counted
            found += min(many, split["rows"])
        return found

    @property
    def soft_labels(self) -> dict[str, str]:
        """The columns that hold the probabilities of classes: {label: column}."""
        return {one["class"]: one["name"] for one in self.columns if one["role"] == "soft"}

    @property
    def told(self) -> str:
        """What it is, for the history of versions."""
        if said := (self.operation or {}).get("told"):
            return str(said)
        hub = self.reading.get("hub")
        if hub is None:
            return f"Uploaded {self.source_name}"
        return f"From the hub: {hub['id']} at {hub.get('commit', hub['revision'])[:12]}"

    @property
    def separator(self) -> str:
        """Between the labels of one row, where there may be several; else empty."""
        return str(self.reading.get("separator") or "")

    @property
    def issue_count(self) -> int:
        """Rows, lines and files with something worth knowing; remarks do not count."""
        return sum(one["count"] for one in self.issues if one["severity"] != "info")

    def rows_of_issue(self, code: str) -> list[int] | None:
        """The ids of the rows of an issue, at most 10 000, increasing; None where there is none."""
        named = {one["code"]: one["rows"] for one in self.issues}
        if code not in named:
            return None
        beyond: dict[str, Any] = self.issue_rows.get(code) or {"rows": named[code]}
        rows: list[int] = beyond["rows"]
        return rows

    @property
    def better_labels(self) -> dict[int, str]:
        """{row: the label that it should perhaps have} of rows whose label is suspected."""
        known: dict[str, list[int]] = self.issue_rows.get("suspected_label") or {"rows": []}
        places = zip(known["rows"], known.get("better", []), strict=True)
        return {row_id: self.labels[place] for row_id, place in places}

    @property
    def is_ready(self) -> bool:
        return self.status == self.Status.READY


class StagedUpload(models.Model):
    """A file that was uploaded and understood, waiting for a person to confirm the mapping."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    project = models.ForeignKey(Project, on_delete=models.CASCADE)
    dataset = models.ForeignKey(Dataset, on_delete=models.CASCADE, null=True, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.CASCADE)
    created_at = models.DateTimeField(auto_now_add=True)
    source_name = models.CharField(max_length=255)
    source_sha256 = models.CharField(max_length=64)
    source_bytes = models.BigIntegerField()
    format = models.CharField(max_length=50)
    understood = models.JSONField(default=dict, help_text="What the format's sniff() reported.")

    def __str__(self) -> str:
        return self.source_name
