"""Rows that one worker at a time works at: claimed by compare-and-set, held under a lease that a
heartbeat renews, fenced by the number of the attempt.

    unclaimed --take--> running --write, renew--> running --write--> settled, or unclaimed again
                           '-- its lease ran out: lost --take--> running, as the next attempt

Every change is one conditional UPDATE and its row count; only the database's clock counts. A
message of a queue is a wake-up call: it may be lost, doubled or late.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Generic, Self, TypeVar

from django.conf import settings
from django.db import models
from django.db.models import F
from django.db.models.expressions import Combinable
from django.db.models.functions import Now


def lease() -> timedelta:
    """How long a worker that is silent keeps what it holds."""
    return timedelta(seconds=settings.DISTILLHUB_LEASE_SECONDS)


Row = TypeVar("Row", bound="Leased")


class Fenced(Exception):
    """The row was taken from this attempt: its lease ran out, and it went on elsewhere."""


def in_future(delay: timedelta) -> Combinable:
    """A time by the database's clock, the only one that counts."""
    return models.ExpressionWrapper(Now() + delay, output_field=models.DateTimeField())


class LeasedQuerySet(models.QuerySet[Row]):
    def unclaimed(self) -> Self:
        """Waiting for a worker."""
        return self.filter(status=self.model.CLAIMABLE, lease_until=None)

    def running(self) -> Self:
        """Held by a worker under a lease."""
        return self.filter(status__in=self.model.LEASED)

    def lost(self) -> Self:
        """Held by a worker whose lease ran out."""
        return self.running().filter(lease_until__lt=Now())

    def held(self, *, pk: int, attempt: int) -> Self:
        """The fence: the row as long as this attempt is the one that holds it."""
        return self.running().filter(pk=pk, attempt=attempt)

    def take(self, **changes: Any) -> bool:
        """Begin the next attempt of the row that this is; False when it is not to be had."""
        return bool(
            self.order_by().update(
                attempt=F("attempt") + 1, lease_until=in_future(lease()), **changes
            )
        )


class Leased(models.Model):
    """A row of this kind. It has a `status`, too."""

    #: The status of what waits for a worker, and those of what one holds.
    CLAIMABLE: ClassVar[str]
    LEASED: ClassVar[Sequence[str]]

    attempt = models.PositiveIntegerField(default=0)
    lease_until = models.DateTimeField(null=True)
    times_lost = models.PositiveIntegerField(default=0, help_text="Workers that died with it.")

    class Meta:
        abstract = True


@dataclass(frozen=True, slots=True)
class Held(Generic[Row]):
    """A row, as one attempt of one worker holds it. `row` is what was read at the claim."""

    row: Row
    attempt: int

    def __str__(self) -> str:
        return f"{self.row._meta.verbose_name} {self.row.pk}, attempt {self.attempt}"

    @property
    def mine(self) -> LeasedQuerySet[Row]:
        """The row, if it is still ours."""
        rows: LeasedQuerySet[Row] = type(self.row)._default_manager.all()  # type: ignore[assignment]
        return rows.held(pk=self.row.pk, attempt=self.attempt)

    def write(self, **changes: Any) -> None:
        """Change the row, if it is still ours. First statement of every transaction that records
        something, so that the rest is guarded by the same row lock. Raises Fenced."""
        changes.setdefault("attempt", self.attempt)
        if not self.mine.update(**changes):
            raise Fenced(str(self))

    def renew(self) -> None:
        """Keep the lease. One that was lost is not taken back: the row then belongs to nobody or to
        another attempt."""
        self.mine.update(lease_until=in_future(lease()))

    def now(self) -> Row:
        """The row as it is. Raises Fenced."""
        found = self.mine.first()
        if found is None:
            raise Fenced(str(self))
        return found
