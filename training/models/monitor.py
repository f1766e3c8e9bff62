"""A monitor: what is watched of a shipped model, against what, and how often."""

from typing import Any, ClassVar

from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone

from projects.models import DatasetVersion, ModelVersion, Project, RegisteredModel, User
from training.models.work import Work


class MonitorQuerySet(models.QuerySet["Monitor"]):
    def visible_to(self, user: User) -> "MonitorQuerySet":
        return self.filter(project__memberships__user=user.pk)

    def watching(self) -> "MonitorQuerySet":
        """Those whose windows are looked at."""
        return self.filter(is_paused=False, project__archived_at=None)


class Monitor(models.Model):
    class Privacy(models.TextChoices):
        """What is kept of an input, once it has been described."""

        RAW = "raw", "All of it"
        REDACTED = "redacted", "All but what looks like a person's details"
        HASHED = "hashed", "Only whether two are the same"
        DESCRIBED = "described", "Only what describes it, and its vector"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="monitors")
    name = models.CharField(max_length=100)
    notes = models.TextField(max_length=10_000, blank=True)
    task = models.CharField(max_length=40)
    labels: Any = models.JSONField(
        default=list, help_text="Classes, in the order of probabilities."
    )

    several_labels = models.BooleanField(
        default=False, help_text="Whether a row has any number of them."
    )

    # What is watched: a model of the project, by an alias that it follows or one version of it;
    # or one that is served elsewhere, of which only a name is known.
    model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, null=True, related_name="monitors"
    )
    alias = models.CharField(max_length=100, blank=True)
    version = models.ForeignKey(
        ModelVersion, on_delete=models.SET_NULL, null=True, related_name="monitors",
        help_text="That its reference is of.",
    )  # fmt: skip
    external = models.CharField(max_length=200, blank=True, help_text="Name of another's model.")

    # Against what: rows of a dataset, or what came in a time.
    dataset_version = models.ForeignKey(
        DatasetVersion, on_delete=models.SET_NULL, null=True, related_name="monitors"
    )
    split = models.CharField(max_length=40, blank=True)
    traffic_from = models.DateTimeField(null=True)
    traffic_until = models.DateTimeField(null=True)
    reference: Any = models.JSONField(
        null=True, help_text='What was found: {"rows", "signals", "false_alarms", ...}'
    )
    reference_files: Any = models.JSONField(default=list, help_text='[{"name", "sha256", "bytes"}]')
    fitted_at = models.DateTimeField(null=True)

    # How: windows of rows or of hours, and what is computed of each.
    window_rows = models.PositiveIntegerField(null=True)
    window_hours = models.FloatField(null=True)
    minimum_rows = models.PositiveIntegerField(default=50, help_text="Less says nothing.")
    grace_minutes = models.PositiveIntegerField(
        default=5, help_text="How long after its end a window of hours waits for late rows."
    )
    detectors: Any = models.JSONField(
        default=dict, help_text='{signal or kind: [{"kind": detector, ...options}]}; else defaults.'
    )
    correction = models.CharField(max_length=30, default="holm")
    rules: Any = models.JSONField(default=dict, help_text="{signal: {...}} of engine/alerting.py.")
    slices: Any = models.JSONField(default=list, help_text='[{"name", "query"}]')

    teacher = models.ForeignKey(
        ModelVersion, on_delete=models.SET_NULL, null=True, related_name="watched_by"
    )
    teacher_share = models.FloatField(default=0.0, help_text="Of rows that it is asked about.")
    teacher_daily = models.PositiveIntegerField(default=500, help_text="The most rows a day.")
    asked_on = models.DateField(null=True, help_text="The day (UTC) of which `asked` is.")
    asked = models.PositiveIntegerField(default=0, help_text="Rows that the teacher was asked.")

    privacy = models.CharField(max_length=10, choices=Privacy.choices, default=Privacy.RAW)
    retention_days = models.PositiveIntegerField(default=90)
    kept_share = models.FloatField(default=1.0, help_text="Of rows of which more is kept.")
    alerting: Any = models.JSONField(default=dict, help_text="Quiet hours, who is told, and how.")
    retraining: Any = models.JSONField(default=dict, help_text="Policy; empty: the defaults.")

    is_paused = models.BooleanField(default=False)
    marks: Any = models.JSONField(
        default=list,
        help_text='[{"at", "what", "sentence", "version"}] since it was made, newest last: '
        "references that were taken and other changes, to be drawn beside its windows.",
    )
    salt = models.CharField(max_length=32, help_text="Of which rows the teacher is asked about.")
    rows = models.PositiveBigIntegerField(default=0, help_text="That came, ever.")
    last_row_at = models.DateTimeField(null=True, help_text="The newest time that a row says.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = MonitorQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint("project", Lower("name"), name="monitor_name_once"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def watched(self) -> str:
        """The model, as people call it."""
        if self.version is None:
            return self.external
        return f"{self.version.reference} ({self.alias})" if self.alias else self.version.reference

    @property
    def is_fitted(self) -> bool:
        return self.reference is not None


class MonitorLook(Work):
    """A look at what a monitor was sent: a worker takes it in, describes it and judges its windows.
    Or, `fits`, at its reference. Of those that are not over, a monitor has one of each kind."""

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="looks")
    fits = models.BooleanField(default=False)
    rows = models.PositiveIntegerField(default=0, help_text="That it took in.")

    class Meta:
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["monitor", "fits"],
                condition=models.Q(status__in=["queued", "working"]),
                name="monitor_look_once",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["status", "lease_until"], name="monitor_look_by_claim"),
        ]

    def __str__(self) -> str:
        return f"a look at {self.monitor}"


class Waiting(models.Manager["InferenceBatch"]):
    """Batches that the next look takes; those that were set aside are passed over."""

    def get_queryset(self) -> models.QuerySet["InferenceBatch"]:
        return super().get_queryset().filter(error="")


class InferenceBatch(models.Model):
    """What was posted and is not taken in yet: rows, labels that came late, or what a teacher said.
    A look takes all that are there, in the order they came, and deletes them with its result. One
    that cannot be taken in is set aside, with a sentence, and `inbox` knows it no more."""

    class Kind(models.TextChoices):
        INFERENCES = "inferences"
        LABELS = "labels"
        TEACHER = "teacher"
        FORGET = "forget"

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="inbox")
    kind = models.CharField(max_length=10, choices=Kind.choices)
    rows = models.PositiveIntegerField()
    body = models.BinaryField(help_text="JSON Lines, compressed by zlib.")
    received_at = models.DateTimeField(auto_now_add=True)
    error = models.CharField(max_length=500, blank=True, help_text="Why it was set aside.")

    objects = Waiting()
    every: ClassVar = models.Manager()

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.rows} {self.kind} of {self.monitor}"


class InferencePart(models.Model):
    """Rows of one day in a Parquet file that never changes; small ones are joined later."""

    class Kind(models.TextChoices):
        ROWS = "rows", "What was asked and answered"
        SAID = "said", "What labels and the teacher said later"
        INDEX = "index", "Where each id stands"

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="parts")
    kind = models.CharField(max_length=5, choices=Kind.choices)
    day = models.DateField()
    rows = models.PositiveIntegerField()
    first_at = models.DateTimeField(null=True)
    last_at = models.DateTimeField(null=True)
    sha256 = models.CharField(max_length=64)
    size_bytes = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["day", "pk"]
        indexes: ClassVar = [models.Index(fields=["monitor", "day"], name="inference_part_by_day")]

    def __str__(self) -> str:
        return f"{self.rows} {self.kind} of {self.day}"


class MonitorWindow(models.Model):
    """What came in a window, as sketches of a few kilobytes, and what the detectors say of it."""

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="windows")
    number = models.PositiveBigIntegerField(help_text="Of hours since 1970, or of rows since 0.")
    starts_at = models.DateTimeField(help_text="Of rows: the time of its first.")
    ends_at = models.DateTimeField()
    rows = models.PositiveIntegerField(default=0)
    late_rows = models.PositiveIntegerField(default=0, help_text="That came after it was judged.")
    sums = models.BinaryField(help_text="Sketches and tallies of every signal (watching/).")
    scores: Any = models.JSONField(
        default=dict,
        help_text='{signal: [{"detector", "value", "limit", "p", "corrected", "effect", "said"}]}',
    )
    facts: Any = models.JSONField(default=dict, help_text="Volume, latency, shares: to be charted.")
    slices: Any = models.JSONField(default=dict, help_text="{slice: {rows, facts, scores}}")
    severity = models.CharField(max_length=10, blank=True, help_text="The worst open alert's.")
    judged_at = models.DateTimeField(null=True, help_text="When its alerts were stepped, once.")

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["monitor", "number"], name="monitor_window_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["monitor", "-ends_at"], name="monitor_window_newest")
        ]

    def __str__(self) -> str:
        return f"window {self.number} of {self.monitor}"

    @property
    def is_over(self) -> bool:
        return self.ends_at <= timezone.now()

    @property
    def is_judged(self) -> bool:
        return self.judged_at is not None
