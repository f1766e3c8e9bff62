"""How often somebody tried to get in, so that guessing ends."""

from datetime import timedelta

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

OF_A_DAY = "day-"  # begins their keys


class GuessQuerySet(models.QuerySet["Guess"]):
    def over(self) -> "GuessQuerySet":
        """Counts whose time is over. Few are of a day: a flood makes none."""
        now, window = timezone.now(), timedelta(minutes=settings.DISTILLHUB_GUESS_MINUTES)
        of_a_day = Q(key__startswith=OF_A_DAY, since__gte=now - timedelta(days=1))
        return self.filter(since__lt=now - window).exclude(of_a_day)


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
