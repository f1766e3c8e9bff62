"""What API teachers were asked and said. Each request is one row, claimed before it is sent, so
that nobody asks, or pays for, the same thing twice."""

from decimal import Decimal
from typing import ClassVar, Self

from django.db import models

from distillhub.lib.leases import Leased, LeasedQuerySet
from projects.models import ModelVersion, Project, User


class TeacherAnswerQuerySet(LeasedQuerySet["TeacherAnswer"]):
    def visible_to(self, user: User) -> Self:
        return self.filter(project__memberships__user=user.pk)


class TeacherAnswer(Leased):
    """The answer to one request. The request itself is not kept: it is made again from the rows
    that it is about, and `digest` finds it."""

    class Status(models.TextChoices):
        WAITING = "waiting"
        ASKING = "asking"
        ANSWERED = "answered"
        FAILED = "failed"

    CLAIMABLE: ClassVar = Status.WAITING
    LEASED: ClassVar = [Status.ASKING]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="+")
    version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="+")
    digest = models.CharField(max_length=64, help_text="sha256 of the exact request.")
    purpose = models.CharField(max_length=100, help_text="For whom it was first asked.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    reply = models.JSONField(null=True, help_text='{"text", "finish", "refusal", "steps"}')
    reason = models.CharField(max_length=40, blank=True, help_text="Why there is no answer.")
    detail = models.TextField(max_length=1000, blank=True)
    requests = models.PositiveIntegerField(default=0, help_text="Sent for it, failed ones too.")
    input_tokens = models.BigIntegerField(default=0)
    output_tokens = models.BigIntegerField(default=0)
    cost = models.DecimalField(
        max_digits=20, decimal_places=10, default=Decimal(0), help_text="Of the answer."
    )
    risked = models.DecimalField(
        max_digits=20,
        decimal_places=10,
        default=Decimal(0),
        help_text="At most, of requests whose end nobody knows.",
    )
    created_at = models.DateTimeField(auto_now_add=True)
    answered_at = models.DateTimeField(null=True)

    objects = TeacherAnswerQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "digest"], name="teacher_answer_once")
        ]
        indexes: ClassVar = [models.Index(fields=["purpose"], name="teacher_answer_purpose")]

    def __str__(self) -> str:
        return f"{self.digest[:12]}: {self.status}"
