"""Webhooks: what other programs are told, signed as Standard Webhooks says."""

from typing import Any, ClassVar

from django.db import models

from projects.models.event import Event
from projects.models.people import User
from projects.models.project import Project


class Webhook(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="webhooks")
    name = models.CharField(max_length=100)
    host = models.CharField(max_length=300, help_text="Of its address, to show.")
    sealed = models.TextField(
        help_text="Address and secrets, sealed; two secrets while one is rotated out."
    )
    events: Any = models.JSONField(default=list, help_text="Kinds of events; empty for all.")
    is_on = models.BooleanField(default=True)
    turned_off = models.CharField(max_length=300, blank=True, help_text="Why, if not by a person.")
    failing_since = models.DateTimeField(null=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "name"], name="webhook_once")
        ]

    def __str__(self) -> str:
        return self.name


class WebhookDelivery(models.Model):
    """One event to one webhook: what is sent, when it is tried again, and what was answered."""

    class Status(models.TextChoices):
        WAITING = "waiting"
        DELIVERED = "delivered"
        FAILED = "failed"

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    event = models.ForeignKey(Event, on_delete=models.CASCADE, null=True, related_name="deliveries")
    message_id = models.CharField(max_length=64, unique=True, help_text="Kept over all tries.")
    kind = models.CharField(max_length=50)
    body: Any = models.JSONField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    claimed_at = models.DateTimeField(
        null=True, help_text="Of a try of which no answer is kept yet."
    )
    answered: Any = models.JSONField(
        default=list, help_text='[{"at", "status", "milliseconds", "error", "answer"}], last first.'
    )
    created_at = models.DateTimeField(auto_now_add=True)
    delivered_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["webhook", "event"],
                condition=models.Q(event__isnull=False),
                name="webhook_delivery_once",
            )
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["due_at"],
                condition=models.Q(status="waiting"),
                name="webhook_delivery_due",
            )
        ]

    def __str__(self) -> str:
        return f"{self.kind} to {self.webhook}"
