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
from django.db.models import Prefetch, prefetch_related_objects
from django.db.models.functions import Coalesce
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid
from distillhub.templatetags import ui
from projects.models import Membership, Role, User
from training.models import Run
from training.services import launching
from training.worker import line
from training.worker.line import Queued, Room, Taken

MOVES = ("up", "down", "front")
PUT_AWAY = "waits until its project, which is archived, is restored"


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

    def soonest(self) -> float:
        """Before when nothing more fits, whatever it is."""
        if len(self.room.held) < self.room.slots or not self.ends:
            return self.now
        return max(self.now, self.ends[0][0])

    def earliest(self, one: Queued) -> float:
        """When it fits, in seconds from now on; infinite where that is not known."""
        if math.isinf(self.now) or self.room.fits(one):
            return self.now
        held, ends, at = self.room.held, list(self.ends), self.now
        self.room.held = list(held)
        while not self.room.fits(one):
            if not ends:
                at = math.inf
                break
            at, _, gone = heapq.heappop(ends)
            self.room.held.remove(gone)
        self.room.held = held
        return at

    def begin(self, taken: Taken, at: float, order: int) -> None:
        self.now = at
        while self.ends and self.ends[0][0] <= at:
            self.room.held.remove(heapq.heappop(self.ends)[2])
        self.room.held.append(taken)
        heapq.heappush(self.ends, (at + taken.seconds, order, taken))


@dataclass(frozen=True, slots=True)
class Line:
    """All that is queued, of all queues together, in the order of the turns. Words are made only of
    what is shown: there may be thousands."""

    order: list[Queued]
    rooms: list[Room]
    positions: dict[int, int]  # in the queue of each, by pk
    starts: dict[int, float]  # seconds from now on

    @classmethod
    def now(cls) -> "Line":
        """Four queries."""
        queued = line.waiting()
        order = line.in_order(queued, line.shares(queued))
        rooms = line.live_rooms()
        return cls(order, rooms, _positions(order), _starts(order, rooms))

    def place(self, one: Queued) -> Place:
        position, seconds = self.positions[one.pk], self.starts[one.pk]
        said = _said(one, position, self.rooms, seconds)
        return Place(one.queue, position, None if math.isinf(seconds) else seconds, said)


def positions(pks: Iterable[int]) -> dict[int, int]:
    """Where queued runs stand in their queues. Two queries."""
    queued = line.waiting()
    found = _positions(line.in_order(queued, line.shares(queued)))
    return {pk: found[pk] for pk in pks if pk in found}


def places(asked: Iterable[Run]) -> dict[int, Place]:
    """Where the runs that wait stand, by their pk; those that do not wait are left out. Five
    queries, however many there are, and none where nothing waits."""
    asked = list(asked)
    found: dict[int, Place] = {}
    queued = {run.pk for run in asked if run.status == Run.Status.QUEUED}
    if queued:
        whole = Line.now()
        found = {one.pk: whole.place(one) for one in whole.order if one.pk in queued}
    # What is queued and in no line is of an archived project.
    put_away = [run for run in asked if run.pk in queued - found.keys()]
    found |= {run.pk: Place(run.queue, None, None, PUT_AWAY) for run in put_away}
    waiting = [run for run in asked if run.status == Run.Status.WAITING]
    if waiting:
        numbers = Run.objects.only("number", "status")
        prefetch_related_objects(waiting, Prefetch("waits_for", numbers))
    for run in waiting:
        found[run.pk] = _behind(run)
    return found


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
    value = launching.priority_of(priority)
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
class Standing:
    """A run on the board. `place` is None where it does not wait, `run` where it is of a project
    that the person does not see."""

    place: Place | None
    run: Run | None

    @property
    def awaited(self) -> list[int]:
        """Numbers of the runs that it waits for."""
        return [one.number for one in _awaited(self.run)] if self.run else []


@dataclass(frozen=True, slots=True)
class Part:
    """Some runs of one kind: the first of them, and how many there are."""

    standing: list[Standing]
    count: int

    @property
    def more(self) -> int:
        return self.count - len(self.standing)


@dataclass(frozen=True, slots=True)
class Board:
    """The queue as one person sees it."""

    running: Part
    lines: dict[str, Part]  # what is queued, by the name of the queue
    paused: Part
    waiting: Part  # for another run
    editable: set[int]  # projects in which the person may change something


def board(*, by: User, queue: str = "", most: int) -> Board:
    """All that runs and waits, of one queue or of all: `most` of each kind. Nine queries."""
    whole = Line.now()
    lines: dict[str, list[Queued]] = {}
    for one in whole.order:
        if not queue or one.queue == queue:
            lines.setdefault(one.queue, []).append(one)
    others = _unqueued(by, queue)
    kinds: dict[str, list[int]] = {"running": [], "paused": [], "waiting": []}
    for pk, status in others:
        kinds["running" if status in Run.LEASED else status].append(pk)
    asked = [one.pk for line in lines.values() for one in line[:most]]
    asked += [pk for kind in kinds.values() for pk in kind[:most]]
    known = _shown(by, asked)

    def part(kind: str) -> Part:
        found = [known[pk] for pk in kinds[kind][:most] if pk in known]
        waits = kind == "waiting"
        return Part(
            [Standing(_behind(run) if waits else None, run) for run in found], len(kinds[kind])
        )

    return Board(
        running=part("running"),
        lines={
            name: Part(
                [Standing(whole.place(one), known.get(one.pk)) for one in line[:most]], len(line)
            )
            for name, line in sorted(lines.items())
        },
        paused=part("paused"),
        waiting=part("waiting"),
        editable=set(_changeable(by)),
    )


@dataclass(frozen=True, slots=True)
class Whole:
    """Every run that waits: those in line in the order of their turns, then those of the person's
    projects that wait for another run."""

    line: Line
    order: list[Queued]
    behind: list[int]
    by: User

    def __len__(self) -> int:
        return len(self.order) + len(self.behind)

    def stretch(self, first: int, last: int) -> list[Standing]:
        """Those from `first` to before `last`. Two queries."""
        queued = self.order[first:last]
        start = max(0, first - len(self.order))
        behind = self.behind[start : max(0, last - len(self.order))]
        known = _shown(self.by, [*(one.pk for one in queued), *behind])
        found = [Standing(self.line.place(one), known.get(one.pk)) for one in queued]
        return found + [Standing(_behind(known[pk]), known[pk]) for pk in behind if pk in known]


def whole(*, by: User, queue: str = "") -> Whole:
    """Five queries."""
    line = Line.now()
    order = [one for one in line.order if not queue or one.queue == queue]
    behind = [pk for pk, status in _unqueued(by, queue) if status == Run.Status.WAITING]
    return Whole(line, order, behind, by)


def _unqueued(by: User, queue: str) -> list[tuple[int, str]]:
    """What is neither over nor in line, of the projects that a person sees, oldest first."""
    runs = Run.objects.launched().visible_to(by).unfinished()
    runs = runs.exclude(status=Run.Status.QUEUED)
    if queue:
        runs = runs.filter(queue=queue)
    return list(runs.order_by("created_at", "pk").values_list("pk", "status"))


def _shown(by: User, pks: Sequence[int]) -> dict[int, Run]:
    """Those that the person sees, with what is shown of a run in the queue. Two queries."""
    return (
        Run.objects.visible_to(by)
        .select_related("project", "created_by", "worker")
        .prefetch_related(Prefetch("waits_for", Run.objects.only("number", "status")))
        .defer("config", "metrics", "summary", "comparison", "notes", "worker__machine")
        .in_bulk(pks)
    )


def _positions(order: Iterable[Queued]) -> dict[int, int]:
    """From 1 on, in the queue of each."""
    found: dict[int, int] = {}
    lengths: dict[str, int] = {}
    for one in order:
        lengths[one.queue] = found[one.pk] = lengths.get(one.queue, 0) + 1
    return found


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
    suited: dict[tuple[str, int, int], tuple[Queued, list[Ahead]]] = {}  # runs of a sweep are alike
    now = timezone.now()
    for one in order:
        alike = (one.queue, one.gpus, one.memory)
        if alike not in suited:
            asked = line.within(one, rooms)
            suited[alike] = asked, [worker for worker in workers if worker.room.suits(asked)]
        asked, able = suited[alike]
        at, chosen = math.inf, able[0] if able else None
        for worker in able:
            if worker.soonest() < at and (found := worker.earliest(asked)) < at:
                at, chosen = found, worker
        if chosen is None:
            starts[one.pk] = math.inf
            continue
        if one.retry_at is not None:
            at = max(at, (one.retry_at - now).total_seconds())
        starts[one.pk] = at
        if math.isinf(at):  # nobody knows when it begins, so nobody behind it knows either
            chosen.now = math.inf
        else:
            chosen.begin(Taken(asked.gpus, asked.memory, one.seconds), at, next(number))
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


def _behind(run: Run) -> Place:
    """Of a run that waits for another, and so has no place in line yet."""
    return Place(run.queue, None, None, _awaits(run))


def _awaits(run: Run) -> str:
    """What a run waits for, in words."""
    awaited = _awaited(run)
    if not awaited:
        return "What it waited for is there; it is about to be queued."
    told = ", ".join(f"run {one.number} ({ui.words(one.status)})" for one in awaited)
    return f"It waits for the model of {told}."


def _awaited(run: Run) -> list[Run]:
    awaited = [one for one in run.waits_for.all() if one.status != Run.Status.FINISHED]
    return sorted(awaited, key=lambda one: one.number)


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
