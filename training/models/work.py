"""What a worker makes of a model version in one go, and a row of its own owns."""

from typing import ClassVar, Self

from django.db import models

from distillhub.lib.leases import Leased, LeasedQuerySet, Row
from projects.models import User


class WorkQuerySet(LeasedQuerySet[Row]):
    def visible_to(self, user: User) -> Self:
        return self.filter(version__model__project__memberships__user=user.pk)


class Work(Leased):
    class Status(models.TextChoices):
        QUEUED = "queued"
        WORKING = "working"
        READY = "ready"
        FAILED = "failed"

    CLAIMABLE: ClassVar = Status.QUEUED
    LEASED: ClassVar = [Status.WORKING]

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    stage = models.CharField(max_length=100, blank=True, help_text="What is being done now.")
    error = models.JSONField(null=True, help_text='{"code", "detail"}')
    report = models.JSONField(null=True, help_text="What the engine found.")
    queued_at = models.DateTimeField(auto_now_add=True)

    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    finished_at = models.DateTimeField(null=True)

    objects = WorkQuerySet.as_manager()

    class Meta:
        abstract = True

    @property
    def is_final(self) -> bool:
        return self.status in (self.Status.READY, self.Status.FAILED)
