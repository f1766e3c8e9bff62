"""Rows that one worker at a time works at: claimed by compare-and-set, held under a lease that a
heartbeat renews, fenced by the number of the attempt.

    unclaimed --take--> running --write, renew--> running --write--> settled, or unclaimed again
                           '-- its lease ran out: lost --take--> running, as the next attempt

Every change is one conditional UPDATE and its row count; only the database's clock counts. A
message of a queue is a wake-up call: it may be lost, doubled or late.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ClassVar, Generic, Self, TypeVar

from django.conf import settings
from django.db import Error, connection, models, transaction
from django.db.models import F
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from distillhub.lib import database, told

log = logging.getLogger(__name__)

AGAIN = 2.0  # seconds between two tries to write how something ended

#: Set when this process was asked to leave: it takes nothing more, and what it does goes back.
stopping = threading.Event()

#: What this process holds. Its heartbeat renews the lease of a row only while it is in here.
holding: set["Held[Any]"] = set()


def lease() -> timedelta:
    """How long a worker that is silent keeps what it holds."""
    return timedelta(seconds=settings.DISTILLHUB_LEASE_SECONDS)


Row = TypeVar("Row", bound="Leased")


class Fenced(Exception):
    """The row was taken from this attempt: its lease ran out, and it went on elsewhere."""


class GivenBack(Exception):
    """This process has to leave before the work is done."""


def _never() -> bool:
    return False


_is_drained: Callable[[], bool] = _never


def drained_when(is_drained: Callable[[], bool] | None) -> None:
    """How this process learns that it was drained; None: nobody drains it."""
    global _is_drained
    _is_drained = is_drained or _never


def takes_more() -> bool:
    """Whether this process may take anything. Asked before every claim, of whatever kind: a message
    that comes nevertheless is sent again, and another worker may hear it."""
    return not stopping.is_set() and not _is_drained()


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

    def claim(self, **changes: Any) -> bool:
        """Take it from those that wait, or from a worker that is gone, which is counted."""
        if self.unclaimed().take(**changes):
            return True
        return self.lost().take(**changes, times_lost=F("times_lost") + 1)


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

    def settle(self, also: Callable[[], None] | None = None, **changes: Any) -> None:
        """Write how it ended, and let go of it; `also` what is true with it, in one transaction.
        The work is done: with the database away it is tried again until it is written, the row went
        on elsewhere (raises Fenced), or this process leaves (raises what the database said)."""
        while True:
            try:
                with transaction.atomic():
                    self.write(**changes, lease_until=None)
                    if also is not None:
                        also()
                return
            except Error as error:
                if not database.is_away(error):
                    raise
                log.warning("%s: the database is away; how it ended waits. %s", self, error)
                connection.close()
                if stopping.wait(AGAIN):
                    raise


@contextmanager
def kept(held: Held[Any]) -> Iterator[None]:
    """The heartbeat renews the lease inside this block, and not a moment longer; lines of the log
    tell what is held."""
    holding.add(held)
    try:
        with told.about(**{str(held.row._meta.model_name): held.row.pk}, attempt=held.attempt):
            yield
    finally:
        holding.discard(held)
