"""A run: one training of one student. This row, not a queue message, owns the run's life."""

import json
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from django.db import connections, models
from django.db.models.functions import Cast, Now

from distillhub.lib.leases import Leased, LeasedQuerySet
from projects.models import DatasetVersion, ModelVersion, Project, User
from training.models import run_announcements
from training.models.study import Study
from training.models.worker import Worker


class RunQuerySet(LeasedQuerySet["Run"]):
    def launched(self) -> "RunQuerySet":
        """Trained here, by a worker; the others are tracked."""
        return self.filter(origin=Run.Origin.LAUNCHED)

    def running(self) -> "RunQuerySet":
        """Held by a worker under a lease, which a tracked run never is."""
        return super().running().launched()

    def visible_to(self, user: User) -> "RunQuerySet":
        return self.filter(project__memberships__user=user.pk)

    def tagged(self, tag: str) -> "RunQuerySet":
        if connections[self.db].features.supports_json_field_contains:
            return self.filter(tags__contains=[tag])
        # SQLite keeps JSON as text: the tag as it is written there, quotes included.
        return self.annotate(tags_text=Cast("tags", models.TextField())).filter(
            tags_text__contains=json.dumps(tag)
        )

    def unfinished(self) -> "RunQuerySet":
        return self.exclude(status__in=Run.FINAL)

    def in_line(self) -> "RunQuerySet":
        """Queued, in a project that is not archived: until it is restored its runs wait."""
        # No join: an UPDATE with one would look at the status in a subquery, which PostgreSQL does
        # not look at again when another worker was faster.
        active = Project.objects.filter(archived_at=None)
        return self.filter(status=Run.Status.QUEUED, project__in=active)

    def next_number(self, project: Project) -> int:
        """Of the project's next run; call it inside a transaction. Two launches at the same moment
        get two numbers: the project's row is locked for the choice."""
        deleted = Project.objects.select_for_update().get(pk=project.pk).last_deleted_run
        newest = self.filter(project=project).aggregate(newest=models.Max("number"))["newest"] or 0
        return int(max(newest, deleted)) + 1

    def claimable(self, queues: Sequence[str]) -> "RunQuerySet":
        """Queued, and past their back-off. Which of them is next says worker/line.py."""
        rested = models.Q(retry_at=None) | models.Q(retry_at__lte=Now())
        return self.in_line().filter(rested, queue__in=queues)


class Run(Leased):
    class Status(models.TextChoices):
        WAITING = "waiting"  # for another run's output
        QUEUED = "queued"
        STARTING = "starting"
        TRAINING = "training"
        EVALUATING = "evaluating"
        PAUSED = "paused"
        CANCELLING = "cancelling"
        FINISHED = "finished"
        FAILED = "failed"
        CANCELLED = "cancelled"

    class Origin(models.TextChoices):
        LAUNCHED = "launched"  # here: a worker trains it
        TRACKED = "tracked"  # trained elsewhere: what trains it sends what it measures

    class Priority(models.IntegerChoices):
        LOW = -1, "low"
        NORMAL = 0, "normal"
        HIGH = 1, "high"

    FINAL: ClassVar = [Status.FINISHED, Status.FAILED, Status.CANCELLED]
    CLAIMABLE: ClassVar = Status.QUEUED
    LEASED: ClassVar = [Status.STARTING, Status.TRAINING, Status.EVALUATING, Status.CANCELLING]
    WORKING: ClassVar = [Status.STARTING, Status.TRAINING, Status.EVALUATING]
    #: Nobody works at it, and it is not over.
    RESTING: ClassVar = [Status.WAITING, Status.QUEUED, Status.PAUSED]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    number = models.PositiveIntegerField()
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=12, choices=Status.choices, default=Status.QUEUED)
    origin = models.CharField(
        max_length=8,
        choices=Origin.choices,
        default=Origin.LAUNCHED,
        db_default=Origin.LAUNCHED,  # for processes of the version before, in a rolling upgrade
    )
    notes = models.TextField(max_length=20_000, blank=True)
    tags = models.JSONField(default=list)
    colour = models.CharField(
        max_length=7, blank=True, db_default="", help_text="#rrggbb in charts; empty: by its place."
    )
    archived_at = models.DateTimeField(null=True, help_text="Put away: in no list unless asked.")

    # What is asked: frozen at launch, every reference pinned to a version. Of a tracked run it is
    # {"params": {...}}, what was told of it, and neither data nor models are ours.
    config = models.JSONField()
    task = models.CharField(max_length=50, blank=True)
    dataset_version = models.ForeignKey(
        DatasetVersion, on_delete=models.PROTECT, related_name="runs", null=True
    )
    # Of a launched run null only while `waiting` for the run that will make it (its reference is in
    # `config`).
    student = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="runs_as_student", null=True
    )
    teachers = models.ManyToManyField(ModelVersion, related_name="runs_as_teacher")
    waits_for = models.ManyToManyField("self", symmetrical=False, related_name="awaited_by")
    control_of = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, blank=True, related_name="controls"
    )
    study = models.ForeignKey(Study, on_delete=models.SET_NULL, null=True, related_name="runs")
    arm = models.CharField(
        max_length=50, blank=True, db_default="", help_text="Which way of training, in its study."
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")

    # When its turn comes, and where (worker/line.py).
    queue = models.CharField(max_length=50, default="default")
    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.NORMAL)
    place = models.DateTimeField(
        null=True, help_text="It stands in line as if queued then; null: as it was queued."
    )
    gpus = models.PositiveSmallIntegerField(default=0, help_text="Cards that it has to itself.")
    memory_bytes = models.BigIntegerField(
        null=True, help_text="That it will hold, as estimated or asked at launch."
    )
    expected_seconds = models.FloatField(null=True, help_text="Of the whole run, estimated.")

    # Who has it now.
    worker = models.ForeignKey(Worker, on_delete=models.SET_NULL, null=True, related_name="runs")
    taken_at = models.DateTimeField(null=True, help_text="When a worker last took it.")
    cards = models.JSONField(
        default=list, help_text="Numbers of its worker's GPUs that it has, or had last."
    )
    retry_at = models.DateTimeField(null=True, help_text="Not to be claimed before (back-off).")
    cancel_requested_at = models.DateTimeField(null=True)
    pause_requested_at = models.DateTimeField(
        null=True, help_text="A run in training that is to checkpoint and pause."
    )
    death_step = models.BigIntegerField(null=True, help_text="Where it last died.")
    deaths_there = models.PositiveIntegerField(
        default=0, help_text="How many times in a row it died at that step."
    )
    job_home = models.CharField(
        max_length=36, blank=True, help_text="Id of the home folder that holds its job folder."
    )
    journal_offset = models.BigIntegerField(
        default=0, help_text="Bytes read of the journal in that folder."
    )

    # What is known of it.
    stage = models.CharField(max_length=100, blank=True)
    step = models.BigIntegerField(default=0)
    steps = models.BigIntegerField(null=True)
    fraction = models.FloatField(default=0.0)
    eta_seconds = models.FloatField(null=True)
    metrics = models.JSONField(default=dict, help_text="Latest value of every series.")
    summary = models.JSONField(default=dict, help_text="What the engine's `finished` event told.")
    comparison = models.JSONField(null=True, help_text="Against its control, on the same rows.")
    is_told = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Whether what follows its end is told: its comparison and its slices.",
    )
    error = models.JSONField(null=True, help_text='{"code", "detail", "trace"?}')
    output = models.OneToOneField(
        ModelVersion, on_delete=models.SET_NULL, null=True, related_name="produced_by"
    )

    created_at = models.DateTimeField(auto_now_add=True)
    queued_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    heard_at = models.DateTimeField(null=True, help_text="When a tracked run last sent anything.")

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "number"], name="run_number_once")
        ]
        indexes: ClassVar = [
            models.Index(fields=["status", "lease_until"], name="run_by_lease"),
            models.Index(fields=["project", "status"], name="run_by_project_status"),
            # What lists count: those that are not put away.
            models.Index(
                fields=["project", "status"],
                condition=models.Q(archived_at=None),
                name="run_listed",
            ),
            # What people have in training, and when they last had a turn, without reading rows.
            models.Index(fields=["created_by", "status", "taken_at"], name="run_by_share"),
            # Where most runs control none, a planner takes the foreign key's own for useless.
            models.Index(
                fields=["control_of"],
                condition=models.Q(control_of__isnull=False),
                name="run_by_control",
            ),
            models.Index(
                fields=["finished_at"],
                condition=models.Q(status="finished", origin="launched", is_told=False),
                name="run_untold",
            ),
        ]

    def __str__(self) -> str:
        return f"run {self.number}"

    @property
    def is_final(self) -> bool:
        return self.status in self.FINAL

    @property
    def is_pausing(self) -> bool:
        """It was asked to pause, and has not left yet."""
        return self.pause_requested_at is not None and self.status in self.WORKING

    @property
    def is_tracked(self) -> bool:
        return self.origin == self.Origin.TRACKED

    @property
    def data(self) -> DatasetVersion:
        """That a launched run is trained on; a tracked one has none."""
        assert self.dataset_version is not None
        return self.dataset_version

    @property
    def problem(self) -> str:
        """What a label of its rows is: `single_label`, … Empty where nobody said."""
        said = str(self.summary.get("problem") or "")
        return said or (self.dataset_version.problem if self.dataset_version else "")

    @property
    def is_distillation(self) -> bool:
        return bool(self.config.get("teachers"))

    def move_to(self, status: str, *, among: Iterable[str], **changes: Any) -> bool:
        """Change status in one conditional UPDATE; of two callers at most one gets True.

        `among` are the statuses it may be in now. `changes` are written with it, and into this
        object when it worked.
        """
        moved = (
            type(self)
            .objects.filter(pk=self.pk, status__in=list(among))
            .update(status=status, **changes)
        )
        if moved:
            self.refresh_from_db(fields=["status", *changes])
        return bool(moved)

    def tell(self, kind: str, sentence: str, *, by: User | None = None) -> "RunEvent":
        """Add a line to the timeline; of some the project hears, too."""
        line = RunEvent.objects.create(run=self, kind=kind, sentence=sentence[:500], by=by)
        run_announcements.hear(self, kind, sentence, by)
        return line


class RunEvent(models.Model):
    """One line of a run's timeline, in plain words."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField(auto_now_add=True)
    kind = models.CharField(max_length=30)
    sentence = models.CharField(max_length=500)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.sentence
