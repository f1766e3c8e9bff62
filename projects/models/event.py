"""What happened in a project: one line for the feed, for notifications and for webhooks."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from django.db import models

from distillhub.lib import calls
from projects.models import event_kinds
from projects.models.people import User
from projects.models.project import Project

FAN_OUT = "training.fan_out_events"


class EventQuerySet(models.QuerySet["Event"]):
    def visible_to(self, user: User) -> "EventQuerySet":
        return self.filter(project__memberships__user=user.pk)

    def untold(self) -> "EventQuerySet":
        return self.filter(told_at=None)

    def tell(
        self,
        *,
        project_id: int,
        kind: str,
        subject: str,
        title: str,
        sentence: str,
        subject_kind: str = "",
        by: User | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> "Event":
        """Write it down, and have a worker make notifications and deliveries of it once this is
        committed. `by` is None where a machine did it; `subject_kind` is the kind's own unless
        said. What does not fit its kind is a fault of ours: it is told all the same."""
        facts = dict(data or {})
        for fault in event_kinds.faults(kind, facts):
            warnings.warn(fault, stacklevel=2)
        known = event_kinds.KINDS.get(kind)
        made = self.create(
            project_id=project_id,
            kind=kind,
            subject_kind=subject_kind or (known.about if known else ""),
            subject=subject[:300],
            title=title[:300],
            sentence=sentence[:1000],
            by=by,
            data=facts,
        )
        wake()
        return made


class Event(models.Model):
    """Written in the transaction that made it true, so that none is lost and none is invented.

    The subject is named and not pointed at: it may be deleted, and this app does not know runs.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="events")
    kind = models.CharField(max_length=50, help_text="run.finished, comment.created, …")
    subject_kind = models.CharField(max_length=30, help_text="run, study, dataset_version, …")
    subject = models.CharField(
        max_length=300, help_text="Its reference in the project: 12, intents@3."
    )
    title = models.CharField(max_length=300, help_text="What it is called.")
    sentence = models.CharField(max_length=1000, help_text="What happened, in words.")
    data: Any = models.JSONField(default=dict, help_text="What programs are told, by kind.")
    by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField(auto_now_add=True)
    told_at = models.DateTimeField(
        null=True, help_text="When notifications and deliveries were made of it."
    )

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-id"]
        indexes: ClassVar = [
            models.Index(fields=["project", "-id"], name="event_by_project"),
            models.Index(fields=["project", "subject_kind", "subject"], name="event_by_subject"),
            models.Index(fields=["id"], condition=models.Q(told_at=None), name="event_untold"),
        ]

    def __str__(self) -> str:
        return self.sentence


def wake() -> None:
    """Have a worker look for events of which nothing was made, once this is committed: one message,
    however many are told here. Where it is lost, they are found within seconds."""
    calls.once_committed(_call)


def _call() -> None:
    calls.call(FAN_OUT)
