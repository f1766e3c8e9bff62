"""Whose turn it is: the order of the runs that wait, and which of them fits a worker.

The order, of all queues together:

1. the higher priority first;
2. of one priority, people take turns: next is a run of whoever has the fewest runs in training, and
   among those of whoever was served longest ago;
3. of one person's runs of one priority, the one that was queued first, or moved ahead.

A worker takes the first in this order that waits in one of its queues and fits in what it has left
of runs at once, of GPUs and of memory. One that would fit an idle worker lets others overtake it
for ten minutes; after that the worker keeps free for it what the others leave.
"""

import dataclasses
import heapq
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from django.db.models import BooleanField, Case, Count, Max, Q, Value, When
from django.db.models.functions import Coalesce, Now

from training.models import Run, Worker
from training.worker import seats
from training.worker.registration import ABSENT

PATIENCE = timedelta(minutes=10)  # for so long a run may be overtaken by those that fit
SPARE = 0.1  # of a machine's memory, for what is no run
NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Queued:
    """A run in line. `gpus` and `memory` are what it needs of a worker."""

    pk: int
    by: int
    queue: str
    priority: int
    place: datetime
    gpus: int = 0
    memory: int = 0
    seconds: float = math.inf  # that it will take, by the estimate; infinite: nobody knows
    rests: bool = False  # its worker died a moment ago
    retry_at: datetime | None = None  # until when it rests
    is_overdue: bool = False  # it was overtaken long enough


@dataclass(frozen=True, slots=True)
class Taken:
    """What a run has of its worker, and for how long yet (infinite: nobody knows)."""

    gpus: int
    memory: int
    seconds: float = math.inf


@dataclass(frozen=True, slots=True)
class Share:
    """What a person has had: runs in training now, and when one was last taken."""

    running: int = 0
    served: datetime = NEVER


@dataclass(slots=True)
class Room:
    """What a worker has for runs, and what is left of it. 0 bytes are not known, and no limit."""

    worker: int
    name: str
    queues: frozenset[str]
    slots: int
    cards: int
    memory: int
    card_memory: int
    held: list[Taken] = field(default_factory=list)

    def limit(self, gpus: int) -> int:
        """Bytes that a run can have here at most: of a card where it has one to itself."""
        return self.card_memory if gpus else self.memory

    def suits(self, one: Queued) -> bool:
        """Whether it would fit if nothing else were here."""
        limit = self.limit(one.gpus)
        return (
            one.queue in self.queues
            and one.gpus <= self.cards
            and (not limit or one.memory <= limit)
        )

    def fits(self, one: Queued) -> bool:
        """Whether it fits beside what is here."""
        if not self.suits(one) or len(self.held) >= self.slots:
            return False
        if one.gpus:  # its cards are its own, and so is their memory
            return one.gpus + sum(other.gpus for other in self.held) <= self.cards
        used = sum(other.memory for other in self.held if not other.gpus)
        return not self.memory or one.memory + used <= self.memory


def next_for(worker: Worker) -> int | None:
    """The run that this worker is to take now. Four queries."""
    queued = waiting(queues=worker.queues)
    if not queued:
        return None
    rooms = live_rooms(also=worker)
    mine = next(room for room in rooms if room.worker == worker.pk)
    taken = sum(other.memory for other in mine.held if not other.gpus)
    mine.held.append(Taken(*seats.gone(memory=mine.memory, used=taken)))  # by what is no run of it
    mine.slots += 1
    for one in turns(queued, shares(queued)):
        if one.rests:
            continue
        asked = within(one, rooms)
        if mine.fits(asked):
            return one.pk
        if asked.is_overdue and mine.suits(asked):
            return None
    return None


def in_order(queued: Iterable[Queued], had: Mapping[int, Share]) -> list[Queued]:
    """All of them, as `turns` says."""
    return list(turns(queued, had))


def turns(queued: Iterable[Queued], had: Mapping[int, Share]) -> Iterator[Queued]:
    """One after the other, in the order in which their turns come when nothing ends meanwhile."""
    lines: dict[int, dict[int, list[Queued]]] = {}
    for one in sorted(queued, key=lambda one: (one.place, one.pk)):
        lines.setdefault(one.priority, {}).setdefault(one.by, []).append(one)
    running = {person: share.running for person, share in had.items()}
    #: When each was served: before now (0), or as the so-manieth from now on (1).
    served: dict[int, tuple[int, Any]] = {
        person: (0, share.served) for person, share in had.items()
    }
    moment = count(1)
    for priority in sorted(lines, reverse=True):
        line = {person: iter(theirs) for person, theirs in lines[priority].items()}

        def turn(person: int, one: Queued) -> tuple[Any, ...]:
            return (
                running.get(person, 0),
                served.get(person, (0, NEVER)),
                one.place,
                one.pk,
                person,
                one,
            )

        heap = [turn(person, next(theirs)) for person, theirs in line.items()]
        heapq.heapify(heap)
        while heap:
            *_, person, one = heapq.heappop(heap)
            yield one
            running[person] = running.get(person, 0) + 1
            served[person] = (1, next(moment))
            following = next(line[person], None)
            if following is not None:
                heapq.heappush(heap, turn(person, following))


def within(one: Queued, rooms: Iterable[Room]) -> Queued:
    """The run as it is held against workers. An estimate is rough: where it is more than any worker
    of its queue has, the run needs all of the largest, and does not wait for ever."""
    limits = [
        room.limit(one.gpus)
        for room in rooms
        if one.queue in room.queues and one.gpus <= room.cards
    ]
    if not limits or not all(limits) or one.memory <= max(limits):
        return one
    return dataclasses.replace(one, memory=max(limits))


# -- what the rows say ----------------------------------------------------------------------------


def waiting(*, queues: Sequence[str] | None = None) -> list[Queued]:
    """The runs in line, of some queues or of all, in no order."""
    runs = Run.objects.in_line()
    if queues is not None:
        runs = runs.filter(queue__in=queues)
    yes, no = Value(True), Value(False)
    rests = When(retry_at__gt=Now(), then=yes)
    overdue = When(queued_at__lt=Now() - PATIENCE, then=yes)
    rows = runs.order_by().values_list(
        "pk", "created_by_id", "queue", "priority", Coalesce("place", "queued_at", Now()), "gpus",
        "memory_bytes", "expected_seconds", "fraction", "retry_at",
        Case(rests, default=no, output_field=BooleanField()),
        Case(overdue, default=no, output_field=BooleanField()),
    )  # fmt: skip
    return [
        Queued(
            pk, by, queue, priority, place, gpus, memory or 0, left(expected, fraction),
            bool(resting), retry_at, bool(is_overdue),
        )
        for pk, by, queue, priority, place, gpus, memory, expected, fraction, retry_at, resting,
            is_overdue in rows
    ]  # fmt: skip


def left(expected: float | None, fraction: float) -> float:
    """Seconds that a run will take from where it stands; infinite where nobody knows."""
    return math.inf if expected is None else expected * (1 - min(1.0, max(0.0, fraction)))


def shares(queued: Iterable[Queued]) -> dict[int, Share]:
    """What the people who wait have had until now."""
    people = {one.by for one in queued}
    rows = (
        Run.objects.launched()
        .filter(created_by__in=people)
        .order_by()
        .values("created_by")
        .annotate(has=Count("pk", filter=Q(status__in=Run.LEASED)), served=Max("taken_at"))
        .values_list("created_by", "has", "served")
    )
    return {person: Share(running, served or NEVER) for person, running, served in rows}


def live_rooms(*, also: Worker | None = None) -> list[Room]:
    """Every worker that is there, with what it holds. Two queries."""
    here = Q(stopped_at=None, seen_at__gt=Now() - ABSENT)
    if also is not None:
        here |= Q(pk=also.pk)
    rooms = {one.pk: room_of(one) for one in Worker.objects.filter(here)}
    if also is not None:
        rooms.setdefault(also.pk, room_of(also))
    held = Run.objects.running().filter(worker__in=rooms).order_by()
    for worker, gpus, memory, eta, expected, fraction in held.values_list(
        "worker", "gpus", "memory_bytes", "eta_seconds", "expected_seconds", "fraction"
    ):
        seconds = left(expected, fraction) if eta is None else eta
        rooms[worker].held.append(Taken(gpus, memory or 0, seconds))
    return list(rooms.values())


def room_of(worker: Worker) -> Room:
    """A worker that holds nothing."""
    cards = worker.machine.get("gpus") or []
    memory = int(worker.machine.get("memory_bytes") or 0)
    return Room(
        worker=worker.pk,
        name=worker.name,
        queues=frozenset(worker.queues if worker.drained_at is None else ()),
        slots=worker.capacity,
        cards=len(cards),
        memory=int(memory * (1 - SPARE)),
        card_memory=max((int(one.get("memory_bytes") or 0) for one in cards), default=0),
    )
