"""Rows that people look at one by one, and what each person said of them."""

from typing import Any, ClassVar

from django.db import models

from projects.models.dataset import DatasetVersion
from projects.models.people import User
from projects.models.project import Membership, Project

MOST_REVIEWS = 10  # of one row


class ReviewQueue(models.Model):
    """Rows of one version that were chosen to be looked at. Open until somebody closes it."""

    class Kind(models.TextChoices):
        LABELS = "labels"
        RATINGS = "ratings"
        COMPARE = "compare"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="review_queues")
    version = models.ForeignKey(DatasetVersion, on_delete=models.PROTECT, related_name="+")
    name = models.CharField(max_length=100)
    kind = models.CharField(max_length=10, choices=Kind.choices)
    choice = models.JSONField(help_text='{"how", "seed", "many", "columns", "conditions"}')
    pair = models.JSONField(default=list, help_text="Two columns with answers to compare.")
    blind = models.BooleanField(default=False, help_text="The present label is not shown.")
    reviews_per_row = models.PositiveSmallIntegerField(default=1)
    # Of memberships: who leaves the project is asked no more, however they left.
    assignees = models.ManyToManyField(
        Membership, related_name="+", help_text="Who is asked to review."
    )
    only_assignees = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Nobody else reviews, as long as somebody is asked.",
    )
    created_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    closed_by = models.ForeignKey(
        User, on_delete=models.PROTECT, related_name="+", null=True, blank=True
    )
    closed_at = models.DateTimeField(null=True, blank=True)
    made = models.ForeignKey(
        DatasetVersion, on_delete=models.SET_NULL, related_name="+", null=True, blank=True
    )

    class Meta:
        ordering: ClassVar = ["-pk"]

    def __str__(self) -> str:
        return f"the review “{self.name}”"

    @property
    def is_open(self) -> bool:
        return self.closed_at is None

    @property
    def asked(self) -> list[User]:
        """Who is asked to review, by username; no query where they are there already."""
        return sorted((one.user for one in self.assignees.all()), key=lambda one: one.username)

    @property
    def labels(self) -> list[str]:
        """That a row may be given, in the order in which keys choose them."""
        return list(self.version.labels)


class ReviewItem(models.Model):
    queue = models.ForeignKey(ReviewQueue, on_delete=models.CASCADE, related_name="items")
    order = models.PositiveIntegerField()
    row_id = models.BigIntegerField()
    priority = models.FloatField(default=0.0, help_text="Why it was chosen: more is earlier.")
    label = models.TextField(null=True, blank=True, help_text="When the queue was made.")
    is_swapped = models.BooleanField(default=False, help_text="The second answer stands left.")
    said: Any = models.JSONField(
        null=True,
        blank=True,
        help_text='What a run answered: {"student", "student_confidence", "teacher", …}.',
    )

    class Meta:
        ordering: ClassVar = ["order"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["queue", "order"], name="review_item_order_once"),
            models.UniqueConstraint(fields=["queue", "row_id"], name="review_item_row_once"),
        ]

    def __str__(self) -> str:
        return f"row {self.row_id}"


class Review(models.Model):
    """What one person said of one row; without a verdict, that the row is theirs for a while."""

    class Verdict(models.TextChoices):
        ACCEPT = "accept"
        CORRECT = "correct"
        SKIP = "skip"
        RATE = "rate"
        CHOOSE = "choose"

    class Chosen(models.TextChoices):
        FIRST = "a"
        SECOND = "b"
        TIE = "tie"

    item = models.ForeignKey(ReviewItem, on_delete=models.CASCADE, related_name="reviews")
    person = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    verdict = models.CharField(max_length=10, choices=Verdict.choices, blank=True)
    label = models.TextField(null=True, blank=True, help_text="Of a correction.")
    rating = models.PositiveSmallIntegerField(null=True, blank=True)
    chosen = models.CharField(max_length=3, choices=Chosen.choices, blank=True)
    note = models.CharField(max_length=1000, blank=True)
    seconds = models.FloatField(default=0.0)
    at = models.DateTimeField(null=True, blank=True)
    taken_until = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["pk"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["item", "person"], name="review_once")
        ]

    def __str__(self) -> str:
        return f"{self.verdict or 'taken'} by {self.person_id}"


class EarlierReview(models.Model):
    """What a person said of a row before saying it otherwise, or taking it back."""

    review = models.ForeignKey(Review, on_delete=models.CASCADE, related_name="earlier")
    verdict = models.CharField(max_length=10, choices=Review.Verdict.choices)
    label = models.TextField(null=True, blank=True)
    rating = models.PositiveSmallIntegerField(null=True, blank=True)
    chosen = models.CharField(max_length=3, choices=Review.Chosen.choices, blank=True)
    note = models.CharField(max_length=1000, blank=True)
    at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering: ClassVar = ["pk"]

    def __str__(self) -> str:
        return f"{self.verdict} before"
