"""How often somebody tried to get in, so that guessing ends."""

from django.db import models


class Guess(models.Model):
    """Tries at one thing that is guarded (a name, an address, a code) since the first of them.

    The count goes up before a try is judged: those who ask in parallel are counted, too.
    """

    key = models.CharField(max_length=64, unique=True, help_text="sha256 of what is guarded.")
    count = models.PositiveIntegerField()
    since = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.count} since {self.since}"
