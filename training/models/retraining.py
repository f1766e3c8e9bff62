"""The next student: from what came, over a run with its control, to a promotion or a refusal."""

from typing import Any, ClassVar

from django.db import models

from projects.models import DatasetVersion, ModelVersion, Project, ReviewQueue, User
from training.models.incident import Incident
from training.models.monitor import Monitor
from training.models.promotion import Promotion
from training.models.run import Run


class RetrainingQuerySet(models.QuerySet["Retraining"]):
    def visible_to(self, user: User) -> "RetrainingQuerySet":
        return self.filter(project__memberships__user=user.pk)

    def unfinished(self) -> "RetrainingQuerySet":
        return self.exclude(status__in=Retraining.FINAL)


class Retraining(models.Model):
    class Status(models.TextChoices):
        PROPOSED = "proposed", "Waits for a person to begin it"
        COLLECTING = "collecting", "Rows are collected"
        LABELLING = "labelling", "The teacher labels them"
        REVIEWING = "reviewing", "People review them"
        TRAINING = "training", "The challenger and its control train"
        JUDGING = "judging", "Champion and challenger are compared"
        DECIDING = "deciding", "Waits for a person to decide"
        PROMOTED = "promoted", "The challenger is the champion"
        KEPT = "kept", "The champion stays"
        FAILED = "failed", "Something failed"
        CANCELLED = "cancelled", "A person ended it"

    FINAL: ClassVar = [Status.PROMOTED, Status.KEPT, Status.FAILED, Status.CANCELLED]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="retrainings")
    number = models.PositiveIntegerField()
    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="retrainings")
    incident = models.ForeignKey(
        Incident, on_delete=models.SET_NULL, null=True, related_name="retrainings"
    )
    policy: Any = models.JSONField(help_text="As it was when this began.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PROPOSED)
    sentence = models.CharField(max_length=1000, blank=True, help_text="Where it stands, in words.")
    steps: Any = models.JSONField(
        default=list,
        help_text='[{"was", "status", "at", "sentence", "by"}]: what happened, newest last.',
    )
    error: Any = models.JSONField(null=True, help_text='{"code", "detail"}')
    champion = models.ForeignKey(
        ModelVersion, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    collected = models.ForeignKey(
        DatasetVersion, on_delete=models.SET_NULL, null=True, related_name="+",
        help_text="The live rows.",
    )  # fmt: skip
    dataset_version = models.ForeignKey(
        DatasetVersion, on_delete=models.SET_NULL, null=True, related_name="+",
        help_text="Old and new rows together.",
    )  # fmt: skip
    review = models.ForeignKey(
        ReviewQueue, on_delete=models.SET_NULL, null=True, related_name="+",
        help_text="In which people check new rows first.",
    )  # fmt: skip
    run = models.ForeignKey(Run, on_delete=models.SET_NULL, null=True, related_name="+")
    challenger = models.ForeignKey(
        ModelVersion, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    judgement: Any = models.JSONField(
        null=True, help_text="Champion and challenger on old and on new rows, and the gate's rules."
    )
    promotion = models.ForeignKey(Promotion, on_delete=models.SET_NULL, null=True, related_name="+")
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    decided_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    objects = RetrainingQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "number"], name="retraining_number_once"),
            models.UniqueConstraint(
                fields=["monitor"],
                condition=~models.Q(status__in=["promoted", "kept", "failed", "cancelled"]),
                name="retraining_open_once",
            ),
        ]

    def __str__(self) -> str:
        return f"retraining {self.number}"

    @property
    def is_final(self) -> bool:
        return self.status in self.FINAL
