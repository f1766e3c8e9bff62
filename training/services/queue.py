"""The queue, for people to see and to change: who is where in it and why, how long each will wait,
priorities and places. The order itself is worker/line.py's.
"""

import dataclasses
import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from django.db import transaction
from django.db.models.functions import Coalesce
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid
from distillhub.templatetags import ui
from projects.models import Membership, Role, User
from training.models import Run
from training.services import runs
from training.worker import line
from training.worker.line import Queued, Room, Taken

MOVES = ("up", "down", "front")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a run stands in its queue. `position` is None where it stands in none yet, and
    `waiting_seconds` where nobody can know; `said` says why it waits."""

    queue: str
    position: int | None
    waiting_seconds: float | None
    said: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.queue,
            "position": self.position,
            "waiting_seconds": self.waiting_seconds,
            "said": self.said,
        }


@dataclass(slots=True)
class Ahead:
    """A worker as it will be: what ends when, of the runs that it holds and that come before."""

    room: Room
    ends: list[tuple[float, int, Taken]] = field(default_factory=list)  # a heap
    now: float = 0.0  # seconds from now on, at which the last one began

    def earliest(self, one: Queued) -> float:
        """When it fits, in seconds from now on; infinite where that is not known."""
        room = dataclasses.replace(self.room, held=list(self.room.held))
        ends, at = list(self.ends), self.now
        while not room.fits(one):
            if not ends:
                return math.inf
            at, _, gone = heapq.heappop(ends)
            room.held.remove(gone)
        return at

    def begin(self, taken: Taken, at: float, order: int) -> None:
        self.now = at
        while self.ends and self.ends[0][0] <= at:
            self.room.held.remove(heapq.heappop(self.ends)[2])
        self.room.held.append(taken)
        heapq.heappush(self.ends, (at + taken.seconds, order, taken))


def places(asked: Iterable[Run]) -> dict[int, Place]:
    """Where the runs that wait stand, by their pk; those that do not wait are left out. Four
    queries, however many there are, and none where nothing is queued."""
    asked = list(asked)
    every = any(run.status == Run.Status.QUEUED for run in asked)
    found = everyone() if every else {}
    for run in asked:
        if run.status == Run.Status.WAITING:
            found[run.pk] = Place(run.queue, None, None, _awaits(run))
    wanted = {run.pk for run in asked}
    return {pk: place for pk, place in found.items() if pk in wanted}


def everyone() -> dict[int, Place]:
    """Where each run of every queue stands, in the order of their turns. Four queries."""
    queued = line.waiting()
    order = line.in_order(queued, line.shares(queued))
    rooms = line.live_rooms()
    starts = _starts(order, rooms)
    positions: dict[str, int] = {}
    seen: dict[int, Place] = {}
    for one in order:
        positions[one.queue] = position = positions.get(one.queue, 0) + 1
        seconds = starts[one.pk]
        said = _said(one, position, rooms, seconds)
        known = None if math.isinf(seconds) else seconds
        seen[one.pk] = Place(one.queue, position, known, said)
    return seen


def move(*, run: Run, to: str, by: User) -> Run:
    """Another place for a queued run, among its launcher's runs of the same queue and priority: one
    `up`, one `down`, or to the `front`. Runs of projects in which `by` may change nothing keep
    their places, and so do other people's turns.

    Raises Invalid for another word, and Conflict when the run is not queued.
    """
    if to not in MOVES:
        sentence = f"It must be one of {', '.join(MOVES)}."
        raise Invalid(f"to: {sentence}", fields={"to": [sentence]})
    with transaction.atomic():
        theirs = (
            Run.objects.filter(
                status=Run.Status.QUEUED,
                queue=run.queue,
                priority=run.priority,
                created_by=run.created_by_id,
                project__in=_changeable(by),
                project__archived_at=None,
            )
            .annotate(stands=Coalesce("place", "queued_at"))
            .select_for_update(of=("self",))
            .order_by("stands", "pk")
        )
        order = list(theirs)
        at = next((index for index, one in enumerate(order) if one.pk == run.pk), None)
        if at is None:
            run.refresh_from_db()
            raise Conflict(
                f"Only a queued run has a place in line; run {run.number} is {run.status}.",
                code="not_queued",
            )
        target = {"up": max(0, at - 1), "down": min(len(order) - 1, at + 1), "front": 0}[to]
        if target == at:
            return run
        slots = _slots([one.place or one.queued_at or run.created_at for one in order])
        order.insert(target, order.pop(at))
        for one, stands in zip(order, slots, strict=True):
            if one.place != stands:
                one.place = stands
                one.save(update_fields=["place"])
        where = "to the front" if to == "front" else to
        run.refresh_from_db()
        run.tell("moved", f"Moved {where} in the queue by {by.display_name}.", by=by)
    return run


def prioritise(*, run: Run, priority: str, by: User) -> Run:
    """How soon its turn comes: `low`, `normal` or `high`. Raises Invalid for another word, and
    Conflict when the run is over."""
    value = runs.priority_of(priority)
    if value == run.priority:
        return run
    with transaction.atomic():
        unfinished = Run.objects.unfinished().filter(pk=run.pk).exclude(priority=value)
        if unfinished.update(priority=value, place=None):
            run.refresh_from_db()
            run.tell("priority", f"{by.display_name} set its priority to {priority}.", by=by)
            return run
    run.refresh_from_db()
    if run.is_final:
        raise Conflict(
            f"Run {run.number} is {run.status}; its turn does not come again.", code="already_over"
        )
    return run


@dataclass(frozen=True, slots=True)
class Board:
    """The queue as one person sees it."""

    running: list[Run]
    queued: list[tuple[Run | None, Place]]  # None: of a project that the person does not see
    paused: list[Run]
    waiting: list[tuple[Run, str]]  # for another run
    editable: set[int]  # projects in which the person may change something


def board(*, by: User, queue: str = "") -> Board:
    """All that runs and waits, of one queue or of all. Seven queries."""
    places = everyone()
    mine = (
        Run.objects.visible_to(by)
        .unfinished()
        .select_related("project", "created_by", "worker", "student__model")
        .prefetch_related("waits_for")
        .order_by("created_at", "pk")
    )
    known = {run.pk: run for run in mine if not queue or run.queue == queue}

    def those(statuses: Iterable[str]) -> list[Run]:
        return [run for run in known.values() if run.status in statuses]

    return Board(
        running=those(Run.LEASED),
        queued=[
            (known.get(pk), place)
            for pk, place in places.items()
            if not queue or place.queue == queue
        ],
        paused=those([Run.Status.PAUSED]),
        waiting=[(run, _awaits(run)) for run in those([Run.Status.WAITING])],
        editable=set(_changeable(by)),
    )


# -- how long -------------------------------------------------------------------------------------


def _starts(order: Sequence[Queued], rooms: Sequence[Room]) -> dict[int, float]:
    """When each begins, in seconds from now on: in order, each on the worker that is free for it
    first, as the estimates of all before it say. Infinite where it is not known."""
    number = count()
    workers = [Ahead(dataclasses.replace(room, held=[])) for room in rooms]
    for worker, room in zip(workers, rooms, strict=True):
        for taken in room.held:
            worker.begin(taken, 0.0, next(number))
    starts: dict[int, float] = {}
    now = timezone.now()
    for one in order:
        asked = line.within(one, rooms)
        suited = [worker for worker in workers if worker.room.suits(asked)]
        if not suited:
            starts[one.pk] = math.inf
            continue
        at, _, worker = min(
            (worker.earliest(asked), index, worker) for index, worker in enumerate(suited)
        )
        if one.retry_at is not None:
            at = max(at, (one.retry_at - now).total_seconds())
        starts[one.pk] = at
        if math.isinf(at):  # nobody knows when it begins, so nobody behind it knows either
            worker.now = math.inf
        else:
            worker.begin(Taken(asked.gpus, asked.memory, asked.seconds), at, next(number))
    return starts


# -- in words -------------------------------------------------------------------------------------


def _said(one: Queued, position: int, rooms: Sequence[Room], seconds: float) -> str:
    serving = [room for room in rooms if one.queue in room.queues]
    if not serving:
        return f"No worker serves the queue {one.queue}; it waits until one does."
    if all(one.gpus > room.cards for room in serving):
        most = max(room.cards for room in serving)
        return (
            f"It asks for {one.gpus} GPU{'s' * (one.gpus != 1)}, and the workers of the queue "
            f"{one.queue} have {most or 'none'}."
        )
    if one.rests and one.retry_at is not None:
        still = max(0.0, (one.retry_at - timezone.now()).total_seconds())
        return f"It rests for {ui.duration(still)} after its worker was lost."
    ahead = "It is next" if position == 1 else f"{position - 1} before it"
    if math.isinf(seconds):
        return f"{ahead}; nobody knows how long the runs before it will take."
    if seconds <= 0:
        return f"{ahead}; a worker has room for it."
    return f"{ahead}, in about {ui.duration(seconds)}."


def _awaits(run: Run) -> str:
    """What a run waits for, in words."""
    awaited = [one for one in run.waits_for.all() if one.status != Run.Status.FINISHED]
    if not awaited:
        return "What it waited for is there; it is about to be queued."
    told = ", ".join(f"run {one.number} ({ui.words(one.status)})" for one in awaited)
    return f"It waits for the model of {told}."


# -- places ---------------------------------------------------------------------------------------


def _changeable(by: User) -> Any:
    roles = [role for role in Role if role.allows(Role.EDITOR)]
    return Membership.objects.filter(user=by, role__in=roles).values_list("project", flat=True)


def _slots(taken: Sequence[datetime]) -> list[datetime]:
    """The places in line that some runs hold together, no two alike."""
    slots: list[datetime] = []
    for at in taken:
        slots.append(max(at, slots[-1] + timedelta(microseconds=1)) if slots else at)
    return slots
