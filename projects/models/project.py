"""Projects and their members."""

from typing import ClassVar

from django.db import models

from projects.models.people import User


class Role(models.TextChoices):
    VIEWER = "viewer"
    EDITOR = "editor"
    OWNER = "owner"

    def allows(self, needed: "Role") -> bool:
        order = [Role.VIEWER, Role.EDITOR, Role.OWNER]
        return order.index(self) >= order.index(needed)


class ProjectQuerySet(models.QuerySet["Project"]):
    def visible_to(self, user: User) -> "ProjectQuerySet":
        return self.filter(memberships__user=user.pk)

    def active(self) -> "ProjectQuerySet":
        return self.filter(archived_at=None)


class Project(models.Model):
    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=100, unique=True)
    description = models.TextField(max_length=2000, blank=True)
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    archived_at = models.DateTimeField(null=True, blank=True)
    members = models.ManyToManyField(User, through="Membership", related_name="projects")
    ended_run_days = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="Days for which failed and cancelled runs keep their checkpoints; 0 for ever, "
        "null as this installation does.",
    )
    last_deleted_run = models.PositiveIntegerField(
        default=0, help_text="The highest number of a deleted run; no other run gets it."
    )

    #: The role of the person asking; set by `permissions.project_for`, not stored.
    my_role: Role | None = None
    #: Likewise, for pages.
    open_incidents: int = 0

    objects = ProjectQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def allows(self, needed: Role) -> bool:
        """Whether the role of the person asking does."""
        return self.my_role is not None and self.my_role.allows(needed)


class Membership(models.Model):
    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering: ClassVar = ["created_at"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["project", "user"], name="one_membership_per_person")
        ]

    def __str__(self) -> str:
        return f"{self.user} is {self.role} of {self.project}"
