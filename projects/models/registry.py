"""Registered models: teachers and students, with immutable versions.

`run` is a number and not a foreign key: this app does not know runs. The run that produced a
version is found from `training.Run.output`.
"""

from typing import Any, ClassVar, Self

from django.db import models

from distillhub.lib.leases import Leased, LeasedQuerySet
from projects.models.dataset import reference_name
from projects.models.event import Event
from projects.models.people import User
from projects.models.project import Project


class RegisteredModelQuerySet(models.QuerySet["RegisteredModel"]):
    def visible_to(self, user: User) -> "RegisteredModelQuerySet":
        return self.filter(project__memberships__user=user.pk)


class RegisteredModel(models.Model):
    class ModelRole(models.TextChoices):
        TEACHER = "teacher"
        STUDENT = "student"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="models")
    name = models.CharField(max_length=100, validators=[reference_name])
    role = models.CharField(max_length=10, choices=ModelRole.choices)
    task = models.CharField(max_length=50)
    description = models.TextField(max_length=2000, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = RegisteredModelQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "name"], name="model_name_once")
        ]

    def __str__(self) -> str:
        return self.name


class ModelVersionQuerySet(LeasedQuerySet["ModelVersion"]):
    def visible_to(self, user: User) -> "ModelVersionQuerySet":
        return self.filter(model__project__memberships__user=user.pk)

    def ready(self) -> "ModelVersionQuerySet":
        return self.filter(status=ModelVersion.Status.READY)

    def running(self) -> Self:
        """Being inspected; what waits for it has the same status, and no lease."""
        return super().running().filter(lease_until__isnull=False)


class ModelVersion(Leased):
    """One fixed state of a model: a configuration, or weights with their configuration.

    A version from `architecture` has no files: its weights are drawn from the run's seed, its
    classes are the dataset's, and its `parameters` are counted for the example sizes in `config`
    until a run knows them.
    """

    class Status(models.TextChoices):
        INSPECTING = "inspecting"
        READY = "ready"
        FAILED = "failed"

    CLAIMABLE: ClassVar = Status.INSPECTING
    LEASED: ClassVar = [Status.INSPECTING]

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.INSPECTING)
    error = models.JSONField(null=True, blank=True, help_text='{"code", "detail"}')
    source = models.JSONField(help_text='{"kind": architecture|hub|upload|run, ...}')
    architecture = models.CharField(max_length=100, blank=True, help_text="Registry key.")
    config = models.JSONField(default=dict, help_text="Resolved architecture options.")
    labels = models.JSONField(default=list, help_text="Empty until trained, and of numbers.")
    problem = models.CharField(
        max_length=20,
        default="single_label",
        help_text="What it answers: single_label, multi_label or regression.",
    )
    tokenizer = models.JSONField(null=True, blank=True, help_text='{"kind", "vocabulary", ...}')
    parameters = models.BigIntegerField(null=True, blank=True)
    size_bytes = models.BigIntegerField(null=True, blank=True, help_text="Of the weights.")
    files = models.JSONField(default=list, help_text='[{"name", "sha256", "bytes"}]')
    metrics = models.JSONField(default=dict, help_text="Of the run that produced it.")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    objects = ModelVersionQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "number"], name="model_version_once")
        ]

    def __str__(self) -> str:
        return self.reference

    @property
    def reference(self) -> str:
        return f"{self.model.name}@{self.number}"

    def announce(self) -> None:
        """Let the project hear of a version that is ready or failed."""
        if self.status == self.Status.INSPECTING:
            return
        error = self.error or {}
        Event.objects.tell(
            project_id=self.model.project_id,
            kind=f"model_version.{self.status}",
            subject=self.reference,
            title=self.reference,
            sentence=str(error.get("detail", "")) if error else "It can be used.",
            data={
                "model": self.model.name,
                "version": self.number,
                "reference": self.reference,
                "role": str(self.model.role),
                "status": str(self.status),
                "source": str(self.source.get("kind", "")),
                "run": self.source.get("run"),
                "parameters": self.parameters,
                "error": {name: str(error.get(name, "")) for name in ("code", "detail")}
                if error
                else None,
                "by": self.created_by.username,
            },
        )

    @property
    def is_trained(self) -> bool:
        """Whether it has weights that learned something to answer, so that it can be asked. What
        was cut out of another version has still to learn to do without the rest."""
        if self.source.get("kind") == "derived" or self.is_kept:
            return False
        unlabelled = (
            self.problem in ("regression", "embedding") or self.model.task == "text-generation"
        )
        learned = bool(self.labels) or unlabelled
        return bool(self.files) and (learned or self.source.get("kind") == "run")

    @property
    def is_asked(self) -> bool:
        """Whether it is a service that is asked, and nothing that is trained or run here."""
        return bool(self.source.get("kind") == "api")

    @property
    def is_recorded(self) -> bool:
        """Whether it is nothing but what was recorded in columns of a dataset."""
        return bool(self.source.get("kind") == "column")

    @property
    def is_ensemble(self) -> bool:
        """Whether it stands for several teachers that speak together."""
        return bool(self.source.get("kind") == "ensemble")

    @property
    def is_kept(self) -> bool:
        """Whether its files are kept as a client of MLflow sent them, and never loaded."""
        return bool(self.source.get("kind") == "mlflow")

    @property
    def has_network(self) -> bool:
        """Whether there is a network that can be trained, run or shipped here."""
        return not (self.is_asked or self.is_recorded or self.is_ensemble or self.is_kept)

    @property
    def can_teach(self) -> bool:
        """Whether a run may have it as its teacher."""
        return self.is_trained or self.is_recorded or self.is_ensemble

    @property
    def is_upper_bound(self) -> bool:
        """Whether its `parameters` are counted for all the words that its tokenizer may have, which
        is still to be trained and may find fewer."""
        told = (self.tokenizer or {"trained": True}).get("trained")
        return self.has_network and not self.files and not told

    @property
    def is_rounded(self) -> bool:
        """Whether some of its weights are whole numbers of few bits, which nobody trains."""
        altered = self.config.get("altered") or {}
        return any("bits" in layer for layer in altered.values())


class ModelAlias(models.Model):
    """A movable name for a version, such as `production`."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=100, validators=[reference_name])
    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="aliases")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "name"], name="model_alias_once")
        ]

    def __str__(self) -> str:
        return self.name


class AliasRules(models.Model):
    """What a version must be worth before an alias may mean it (training's promotion reads them).
    An alias with rules moves by promotion alone."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="alias_rules")
    name = models.CharField(max_length=100, validators=[reference_name])
    rules: Any = models.JSONField(help_text="As training/services/promotion_rules.py has them.")
    changed_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "name"], name="alias_rules_once")
        ]

    def __str__(self) -> str:
        return f"rules of {self.name}"


class AliasChange(models.Model):
    """One line of what an alias meant: who let it mean which version, and why."""

    class How(models.TextChoices):
        SET = "set"  # by hand
        PROMOTED = "promoted"  # every rule held
        OVERRIDDEN = "overridden"  # an owner said why, though a rule did not hold
        ROLLED_BACK = "rolled_back"  # to what it meant before
        REMOVED = "removed"

    model = models.ForeignKey(
        RegisteredModel, on_delete=models.CASCADE, related_name="alias_changes"
    )
    name = models.CharField(max_length=100)
    version = models.ForeignKey(
        ModelVersion, on_delete=models.CASCADE, null=True, related_name="alias_changes"
    )
    how = models.CharField(max_length=11, choices=How.choices)
    reason = models.TextField(max_length=2000, blank=True)
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-pk"]
        indexes: ClassVar = [models.Index(fields=["model", "name"], name="alias_change_by_alias")]

    def __str__(self) -> str:
        return f"{self.name} {self.how}"
