"""How often somebody tried to get in, so that guessing ends."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone


class GuessQuerySet(models.QuerySet["Guess"]):
    def over(self) -> "GuessQuerySet":
        """Counts whose time is over: the longest are of a day."""
        window = timedelta(minutes=settings.DISTILLHUB_GUESS_MINUTES)
        return self.filter(since__lt=timezone.now() - max(window, timedelta(days=1)))


class Guess(models.Model):
    """Tries at one thing that is guarded (a name, an address, a code) since the first of them.

    The count goes up before a try is judged: those who ask in parallel are counted, too.
    """

    key = models.CharField(max_length=64, unique=True, help_text="sha256 of what is guarded.")
    count = models.PositiveIntegerField()
    since = models.DateTimeField(db_index=True)

    objects = GuessQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.count} since {self.since}"
