"""Alerts of a monitor's signals, and the incidents that they make together."""

from typing import Any, ClassVar

from django.db import models

from projects.models import Project, User
from training.models.monitor import Monitor, MonitorWindow


class SignalAlert(models.Model):
    """The state of one signal's alert between two windows (engine/alerting.py)."""

    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="alerts")
    signal = models.CharField(max_length=300)
    state = models.CharField(max_length=10, default="ok")
    severity = models.CharField(max_length=10, blank=True)
    kept: Any = models.JSONField(default=dict, help_text="As engine.alerting.Alert says it.")
    changed_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering: ClassVar = ["signal"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["monitor", "signal"], name="signal_alert_once")
        ]

    def __str__(self) -> str:
        return f"{self.signal} of {self.monitor}"


class IncidentQuerySet(models.QuerySet["Incident"]):
    def visible_to(self, user: User) -> "IncidentQuerySet":
        return self.filter(project__memberships__user=user.pk)

    def open(self) -> "IncidentQuerySet":
        return self.filter(closed_at=None)


class Incident(models.Model):
    """From the first alert of a monitor that opens until the last is closed."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="incidents")
    number = models.PositiveIntegerField()
    monitor = models.ForeignKey(Monitor, on_delete=models.CASCADE, related_name="incidents")
    severity = models.CharField(max_length=10)
    signals: Any = models.JSONField(
        default=list, help_text='[{"signal", "since", "effect", "detector", "closed_at"}]'
    )
    sentence = models.CharField(max_length=1000, help_text="What changed, in words.")
    facts: Any = models.JSONField(
        default=dict, help_text="Which slice, which rows, what the teacher thinks, accuracy."
    )
    since = models.DateTimeField(help_text="The end of the first window that spoke against it.")
    opened_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True)
    window = models.ForeignKey(
        MonitorWindow, on_delete=models.SET_NULL, null=True, related_name="+",
        help_text="That opened it.",
    )  # fmt: skip
    owner = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    acknowledged_by = models.ForeignKey(
        User, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    acknowledged_at = models.DateTimeField(null=True)
    snoozed_until = models.DateTimeField(null=True)

    objects = IncidentQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-number"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "number"], name="incident_number_once"),
            models.UniqueConstraint(
                fields=["monitor"], condition=models.Q(closed_at=None), name="incident_open_once"
            ),
        ]

    def __str__(self) -> str:
        return f"incident {self.number}"


class IncidentEvent(models.Model):
    """What happened to an incident, and what people said of it. Newest last."""

    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=20)
    sentence = models.TextField(max_length=5000)
    data: Any = models.JSONField(default=dict)
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return self.sentence


class AlertChannel(models.Model):
    """Where a project's messages about incidents go."""

    class Kind(models.TextChoices):
        EMAIL = "email", "E-mail"
        WEBHOOK = "webhook", "Webhook"
        SLACK = "slack", "Slack-compatible webhook"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="alert_channels")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    place = models.CharField(max_length=500, help_text="Addresses, or the webhook's host, to show.")
    sealed = models.TextField(blank=True, help_text="The webhook's address and secret, sealed.")
    least = models.CharField(max_length=10, default="notice", help_text="Severity from which.")
    is_on = models.BooleanField(default=True)
    hears: Any = models.JSONField(
        default=list, db_default=[], help_text="Kinds of other events that are sent here, too."
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "name"], name="alert_channel_once")
        ]

    def __str__(self) -> str:
        return self.name


class AlertMessage(models.Model):
    """One message to one channel: what is sent, when it is tried again, and what came of it."""

    class Status(models.TextChoices):
        WAITING = "waiting"
        SENT = "sent"
        FAILED = "failed"

    channel = models.ForeignKey(AlertChannel, on_delete=models.CASCADE, related_name="messages")
    incident = models.ForeignKey(
        Incident, on_delete=models.CASCADE, null=True, related_name="messages"
    )
    key = models.CharField(max_length=100, help_text="Of the event: sent once to a channel.")
    body: Any = models.JSONField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.WAITING)
    within = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="carried",
        help_text="The message that carries it, where several waited for one channel.",
    )  # fmt: skip
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["channel", "key"], name="alert_message_once")
        ]
        indexes: ClassVar = [models.Index(fields=["status", "due_at"], name="alert_message_due")]

    def __str__(self) -> str:
        return f"{self.key} to {self.channel}"
