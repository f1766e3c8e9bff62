"""What the MLflow protocol knows and a run of ours does not: experiments, and runs by their ids."""

from typing import Any, ClassVar

from django.db import models

from projects.models import ModelVersion, Project, RegisteredModel
from training.models.run import Run


class Experiment(models.Model):
    """A group of tracked runs under a name, as MLflow clients make them."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="experiments")
    number = models.PositiveIntegerField(help_text="Its id for clients; 0 is the first.")
    name = models.CharField(max_length=500)
    tags: Any = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "number"], name="experiment_number_once"),
            models.UniqueConstraint(fields=["project", "name"], name="experiment_name_once"),
        ]

    def __str__(self) -> str:
        return self.name


class ExperimentRun(models.Model):
    """The MLflow side of a tracked run."""

    run = models.OneToOneField(
        Run, on_delete=models.CASCADE, primary_key=True, related_name="experiment_run"
    )
    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="runs")
    key = models.CharField(max_length=32, unique=True, help_text="run_id: 32 hexadecimal digits.")
    user = models.CharField(max_length=256, blank=True, help_text="Who the client says it is.")
    status = models.CharField(max_length=10, default="RUNNING")
    tags: Any = models.JSONField(default=dict)
    outputs: Any = models.JSONField(default=list, help_text='[{"model_id", "step"}]')
    deleted_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return self.key


class RunInput(models.Model):
    """A dataset that a client says a run read: its name, and what it knows of it."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="inputs")
    name = models.CharField(max_length=500)
    digest = models.CharField(max_length=36)
    context = models.CharField(max_length=500, blank=True, help_text="training, evaluation, …")
    told: Any = models.JSONField(help_text='{"source_type", "source", "schema", "profile"}')
    tags: Any = models.JSONField(default=dict)

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "name", "digest"], name="run_input_once")
        ]

    def __str__(self) -> str:
        return self.name


class LoggedModel(models.Model):
    """A checkpoint or model that an MLflow client logged: files kept as they are, never loaded."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    experiment = models.ForeignKey(Experiment, on_delete=models.CASCADE, related_name="models")
    key = models.CharField(max_length=34, unique=True, help_text="m- and 32 hexadecimal digits.")
    name = models.CharField(max_length=500, blank=True)
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, related_name="+")
    version = models.ForeignKey(
        ModelVersion, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    status = models.CharField(max_length=30, default="LOGGED_MODEL_PENDING")
    params: Any = models.JSONField(default=list)
    tags: Any = models.JSONField(default=dict)
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    deleted_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-id"]

    def __str__(self) -> str:
        return self.key


class TrackedFile(models.Model):
    """A file that a client put beside a run or a logged model, by its path there."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    owner = models.CharField(max_length=34, help_text="The key of the run or logged model.")
    path = models.CharField(max_length=1000)
    sha256 = models.CharField(max_length=64)
    bytes = models.BigIntegerField()
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["path"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["owner", "path"], name="tracked_file_once")
        ]
        indexes: ClassVar = [models.Index(fields=["sha256"], name="tracked_file_by_content")]

    def __str__(self) -> str:
        return self.path


class RegistryNote(models.Model):
    """What clients say of a registered model, or of one of its versions, beyond what is ours."""

    model = models.ForeignKey(RegisteredModel, on_delete=models.CASCADE, related_name="+")
    version = models.OneToOneField(
        ModelVersion, on_delete=models.CASCADE, null=True, related_name="note"
    )
    tags: Any = models.JSONField(default=dict)
    description = models.TextField(max_length=5000, blank=True, help_text="Of a version.")
    stage = models.CharField(max_length=20, default="None", help_text="As older clients have it.")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["model"],
                condition=models.Q(version=None),
                name="registry_note_once_per_model",
            )
        ]

    def __str__(self) -> str:
        return f"note on {self.model_id}"
