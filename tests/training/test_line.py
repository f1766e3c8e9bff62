"""Whose turn it is: laws of the order over random queues, and what fits a worker. Most of it is
arithmetic on plain values; the rest reads real rows."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from projects.models import Project, User
from tests import make
from training.models import Run, Worker
from training.services import launching
from training.worker import claims, line
from training.worker.line import Queued, Room, Share, Taken

NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)
GIB = 1 << 30


def queued(pk: int, by: int = 1, **fields: Any) -> Queued:
    made: dict[str, Any] = {
        "queue": "default",
        "priority": 0,
        "place": NOON + timedelta(seconds=pk),
    }
    return Queued(pk=pk, by=by, **made | fields)


def room(**fields: Any) -> Room:
    usual: dict[str, Any] = {"worker": 1, "name": "here", "slots": 2}
    usual["queues"] = frozenset(["default"])
    return Room(**usual | {"cards": 0, "memory": 8 * GIB, "card_memory": 0} | fields)


def numbers(order: Sequence[Queued]) -> list[int]:
    return [one.pk for one in order]


def somebody(seed: int) -> tuple[list[Queued], dict[int, Share]]:
    chance = random.Random(seed)
    people = range(1, chance.randint(2, 6))
    many = [
        queued(pk, chance.choice(people), priority=chance.choice([-1, 0, 0, 1]),
               place=NOON + timedelta(seconds=chance.randint(0, 40)))
        for pk in range(chance.randint(1, 40))
    ]  # fmt: skip
    had = {
        person: Share(chance.randint(0, 3), NOON - timedelta(seconds=chance.randint(0, 99)))
        for person in people
    }
    return many, had


# -- the order ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_every_run_has_one_turn_and_the_order_has_its_laws(seed: int) -> None:
    many, had = somebody(seed)
    order = line.in_order(many, had)
    assert sorted(numbers(order)) == sorted(one.pk for one in many)
    assert [one.priority for one in order] == sorted((one.priority for one in many), reverse=True)
    for person in had:  # of one person's runs of one priority the place decides
        for priority in (-1, 0, 1):
            mine = [one for one in order if one.by == person and one.priority == priority]
            assert mine == sorted(mine, key=lambda one: (one.place, one.pk))
    shuffled = random.Random(seed).sample(many, len(many))
    assert line.in_order(shuffled, had) == order


@pytest.mark.parametrize("seed", range(25))
def test_nobody_is_served_while_somebody_with_fewer_waits(seed: int) -> None:
    many, had = somebody(seed)
    order = line.in_order(many, had)
    running = Counter({person: share.running for person, share in had.items()})
    for place, one in enumerate(order):
        rivals = {other.by for other in order[place:] if other.priority == one.priority}
        assert running[one.by] == min(running[person] for person in rivals)
        running[one.by] += 1


def test_fifty_runs_of_one_person_do_not_hold_up_anothers() -> None:
    greedy = [queued(pk, by=1) for pk in range(50)]
    other = queued(99, by=2)
    assert numbers(line.in_order([*greedy, other], {}))[:3] == [0, 99, 1]


def test_one_slot_serves_two_people_in_turn() -> None:
    waiting = [queued(pk, by=1 if pk < 6 else 2) for pk in range(9)]
    had: dict[int, Share] = {}
    served = []
    for moment in range(9):  # one ends before the next begins: nobody has any in training
        first = line.in_order(waiting, had)[0]
        waiting.remove(first)
        served.append(first.by)
        had[first.by] = Share(0, NOON + timedelta(minutes=moment))
    assert served == [1, 2, 1, 2, 1, 2, 1, 1, 1]


def test_a_higher_priority_comes_before_anybodys_turn() -> None:
    order = [queued(1), queued(2, by=2), queued(3, priority=1), queued(4, by=2, priority=-1)]
    assert numbers(line.in_order(order, {1: Share(running=5)})) == [3, 2, 1, 4]


# -- what fits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "held", "asked", "fits"),
    [
        (room(), [], queued(1), True),
        (room(), [Taken(0, 0)], queued(1), True),
        (room(), [Taken(0, 0)] * 2, queued(1), False),  # no slot
        (room(queues=frozenset()), [], queued(1), False),  # drained, or of other queues
        (room(), [], queued(1, queue="gpu"), False),
        (room(), [], queued(1, gpus=1), False),
        (room(cards=2), [Taken(1, 0)], queued(1, gpus=1), True),
        (room(cards=2, slots=9), [Taken(1, 0)], queued(1, gpus=2), False),
        (room(), [Taken(0, 5 * GIB)], queued(1, memory=3 * GIB), True),
        (room(), [Taken(0, 5 * GIB)], queued(1, memory=4 * GIB), False),
        (room(memory=0), [Taken(0, 5 * GIB)], queued(1, memory=400 * GIB), True),  # not known
        (room(cards=2, card_memory=4 * GIB), [], queued(1, gpus=1, memory=5 * GIB), False),
        # Cards are its own, and so is their memory: the machine's is not held against it.
        (room(cards=2, card_memory=GIB), [Taken(0, 8 * GIB)], queued(1, gpus=1, memory=3), True),
    ],
)  # fmt: skip
def test_a_worker_takes_what_fits_beside_what_it_holds(
    here: Room, held: list[Taken], asked: Queued, fits: bool
) -> None:
    assert replace(here, held=held).fits(asked) == fits


def test_an_estimate_beyond_all_workers_asks_for_the_largest_whole() -> None:
    small, large = room(), room(memory=16 * GIB)
    asked = line.within(queued(1, memory=99 * GIB), [small, large])
    assert (small.fits(asked), large.fits(asked)) == (False, True)
    assert not replace(large, held=[Taken(0, 1)]).fits(asked)
    for same in (queued(1, memory=9 * GIB), queued(1, queue="gpu", memory=99 * GIB)):
        assert line.within(same, [small, large]) == same


# -- of rows --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
class TestClaims:
    def test_people_take_turns(
        self, project: Project, worker: Worker, alice: User, erin: User
    ) -> None:
        mine = [make.run(project) for _ in range(3)]
        hers = [make.run(project, created_by=erin) for _ in range(2)]
        taken = [claims.claim_next(worker) for _ in range(4)]
        Worker.objects.filter(pk=worker.pk).update(capacity=9)
        taken += [claims.claim_next(worker) for _ in range(4)]
        assert [one.run for one in taken if one is not None] == [
            mine[0], hers[0], mine[1], hers[1], mine[2],
        ]  # fmt: skip

    def test_a_worker_holds_at_most_what_it_may(self, project: Project, worker: Worker) -> None:
        for _ in range(2):
            make.run(project)
        assert claims.claim_next(worker) is not None
        assert claims.claim_next(worker) is None

    def test_what_does_not_fit_is_overtaken_for_ten_minutes(
        self, project: Project, worker: Worker
    ) -> None:
        Worker.objects.update(capacity=9, machine={"memory_bytes": 10 * GIB})
        make.run(project, memory_bytes=5 * GIB)
        assert claims.claim_next(worker) is not None
        large = make.run(project, memory_bytes=8 * GIB)
        small = make.run(project, memory_bytes=1 * GIB)
        found = claims.claim_next(worker)
        assert found is not None
        assert found.run == small
        make.run(project, memory_bytes=1 * GIB)
        past = timezone.now() - line.PATIENCE - timedelta(seconds=1)
        Run.objects.filter(pk=large.pk).update(queued_at=past)
        assert claims.claim_next(worker) is None  # its room is kept free

    def test_a_drained_worker_takes_nothing(self, project: Project, worker: Worker) -> None:
        make.run(project)
        Worker.objects.update(drained_at=timezone.now())
        assert claims.claim_next(worker) is None

    def test_a_launch_notes_what_it_needs(self, project: Project, alice: User) -> None:
        make.dataset_version(project, "tickets")
        make.model_version(project, "tiny", parameters=1000)
        asked = {
            "task": "text-classification", "dataset": "tickets", "student": "tiny",
            "resources": {"gpus": 2}, "priority": "high",
        }  # fmt: skip
        run = launching.launch(project=project, configuration=asked, by=alice)
        assert (run.gpus, run.priority) == (2, Run.Priority.HIGH)
        assert run.memory_bytes is not None
        assert run.memory_bytes > 100 << 20
        assert run.expected_seconds is not None
        assert "priority" not in run.config
        asked["resources"] = {"memory_mib": 77}
        run = launching.launch(project=project, configuration=asked, by=alice)
        assert run.memory_bytes == 77 << 20
        assert run.config["resources"] == {"queue": "default", "gpus": 0, "memory_mib": 77}

    def test_a_turn_costs_four_queries(
        self, project: Project, worker: Worker, django_assert_num_queries: Any
    ) -> None:
        for _ in range(30):
            make.run(project)
        with django_assert_num_queries(4):
            line.next_for(worker)
