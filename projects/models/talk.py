"""What people say of runs and other things, which they keep at hand, and of what they hear."""

from typing import ClassVar

from django.db import models

from projects.models.event import Event
from projects.models.people import User
from projects.models.project import Project


class Comment(models.Model):
    """A word on a subject of the project, named as in an Event. Markdown."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="comments")
    subject_kind = models.CharField(max_length=30)
    subject = models.CharField(max_length=300)
    text = models.TextField(max_length=10_000)
    mentions = models.ManyToManyField(User, related_name="+")
    by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    edited_at = models.DateTimeField(null=True)
    deleted_at = models.DateTimeField(null=True, help_text="Its place stays, its text goes.")

    class Meta:
        ordering: ClassVar = ["id"]
        indexes: ClassVar = [
            models.Index(fields=["project", "subject_kind", "subject"], name="comment_by_subject")
        ]

    def __str__(self) -> str:
        return self.text[:80]


class Favourite(models.Model):
    """What a person keeps at hand; an empty subject with kind `project` is the project itself."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="favourites")
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="favourites")
    subject_kind = models.CharField(max_length=30)
    subject = models.CharField(max_length=300, blank=True)
    title = models.CharField(
        max_length=300, blank=True, db_default="", help_text="What it is called, for lists."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "project", "subject_kind", "subject"], name="favourite_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject_kind} {self.subject}"


class NotificationRule(models.Model):
    """Which events a person hears of, and how; what is not ruled follows the defaults."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notification_rules")
    project = models.ForeignKey(
        Project, on_delete=models.CASCADE, null=True, related_name="+", help_text="Null: in all."
    )
    topic = models.CharField(max_length=50, help_text="run_failed, beat_the_best, mentioned, …")
    whose = models.CharField(max_length=10, default="mine", help_text="mine, or all.")
    on_page = models.BooleanField(default=True)
    by_email = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "project", "topic"], name="notification_rule_once"
            ),
            models.UniqueConstraint(
                fields=["user", "topic"],
                condition=models.Q(project=None),
                name="notification_rule_for_all_once",
            ),
        ]

    def __str__(self) -> str:
        return self.topic


class Notification(models.Model):
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="notifications")
    event = models.ForeignKey(Event, on_delete=models.CASCADE, related_name="notifications")
    topic = models.CharField(max_length=50)
    on_page = models.BooleanField(default=True)
    read_at = models.DateTimeField(null=True)
    email_due_at = models.DateTimeField(null=True, help_text="Null: by no e-mail, or sent.")
    email_tries = models.PositiveSmallIntegerField(default=0)
    emailed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "event"], name="notification_once")
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["user"],
                condition=models.Q(read_at=None, on_page=True),
                name="notification_unread",
            ),
            models.Index(
                fields=["email_due_at"],
                condition=models.Q(email_due_at__isnull=False),
                name="notification_email_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.topic} for {self.user}"
