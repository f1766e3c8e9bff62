"""People, and the ways in: tokens and one-time links, kept as digests only."""

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser
from django.db import models
from django.db.models.functions import Lower
from django.utils import timezone


class User(AbstractUser):
    """A person. Custom from the first migration, so that it can grow."""

    time_zone = models.CharField(max_length=64, default="UTC")
    avatar = models.CharField(
        max_length=64, blank=True, db_default="", help_text="sha256 of a stored PNG."
    )
    is_service = models.BooleanField(
        default=False,
        db_default=False,
        help_text="No person: what a project's own token acts as. It never signs in.",
    )

    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta(AbstractUser.Meta):
        constraints: ClassVar = [
            # People are added to projects by address; two with one address would be ambiguous.
            models.UniqueConstraint(
                Lower("email"), name="email_once", condition=~models.Q(email="")
            )
        ]

    @property
    def display_name(self) -> str:
        return self.get_full_name() or self.username


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def usable(self, now: Any = None) -> "ApiTokenQuerySet":
        return self.filter(
            models.Q(expires_at=None) | models.Q(expires_at__gt=now or timezone.now()),
            revoked_at=None,
            user__is_active=True,
        )


class ApiToken(models.Model):
    """A bearer token for REST. The token itself is shown once; only its sha256 is stored."""

    class Scope(models.TextChoices):
        READ = "read"
        WRITE = "write"
        TRACK = "track"  # runs that are trained elsewhere, and nothing else
        INFER = "infer"  # questions to models, and live rows of monitors

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    project = models.ForeignKey(
        "projects.Project",
        on_delete=models.CASCADE,
        null=True,
        related_name="api_tokens",
        help_text="The only one it opens; null: all that its user may see.",
    )
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, related_name="+")
    rotated_at = models.DateTimeField(null=True, help_text="When its successor was made.")
    name = models.CharField(max_length=100)
    scope = models.CharField(max_length=10, choices=Scope.choices, default=Scope.WRITE)
    prefix = models.CharField(max_length=12, help_text="Its first characters, to recognise it by.")
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at"]

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"


class SignInLink(models.Model):
    """A link that signs one person in, once, within minutes: what `distillhub up` prints."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    digest = models.CharField(max_length=64, unique=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return f"sign-in link of {self.user}"


class IdempotencyKey(models.Model):
    """What was answered to a creating POST, so that its repetition is answered the same."""

    user = models.ForeignKey(User, on_delete=models.CASCADE)
    key = models.CharField(max_length=200)
    request_digest = models.CharField(max_length=64, help_text="sha256 of method, path and body.")
    status = models.PositiveSmallIntegerField(null=True, help_text="None while in progress.")
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotency_key_once_per_user")
        ]

    def __str__(self) -> str:
        return self.key
