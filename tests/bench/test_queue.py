"""Printed, not asserted: what the queue costs with 5 000 runs in it, as CPU of the process that
answers and of nothing else; five people, three priorities, two queues, forty workers."""

import random
import statistics
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from projects.models import Membership, Project, Role, User
from tests import make
from tests.conftest import api_of, signed_in
from training.models import Run, Worker
from training.services import queue

pytestmark = [pytest.mark.bench, pytest.mark.django_db]

QUEUED = 5000
WORKERS = 40
TIMES = 7


@pytest.fixture
def long_line(project: Project, alice: User) -> Run:
    """The last run of a long line."""
    chance, now = random.Random(0), timezone.now()
    people = [alice, *(make.user() for _ in range(4))]
    for person in people[1:]:
        Membership.objects.create(project=project, user=person, role=Role.EDITOR)
    first = make.run(project, status="finished")
    shared = {
        "project": project, "task": first.task, "config": first.config,
        "dataset_version": first.dataset_version, "student": first.student,
    }  # fmt: skip
    rows = [
        Run(
            number=number,
            name=f"run {number}",
            created_by=chance.choice(people),
            priority=chance.choice([0, 0, 0, 1, -1]),
            queue=chance.choice(["default", "default", "default", "gpu"]),
            expected_seconds=chance.choice([30, 60, 600]),
            memory_bytes=chance.choice([1, 2, 4]) * 10**9,
            queued_at=now - timedelta(seconds=10_000 - number),
            **shared,
        )
        for number in range(2, QUEUED + 2)
    ]
    Run.objects.bulk_create(rows, batch_size=200)
    for number in range(WORKERS):
        worker = Worker.objects.create(
            name=f"box-{number}", host=f"box-{number}", pid=1, capacity=4, seen_at=now,
            queues=["default", "gpu"] if number % 4 == 0 else ["default"],
            machine={"memory_bytes": 16 * 10**9},
        )  # fmt: skip
        make.run(
            project, number=QUEUED + 2 + number, worker=worker, status="training",
            eta_seconds=100.0 + number, memory_bytes=2 * 10**9, student=first.student,
            dataset_version=first.dataset_version, lease_until=now + timedelta(hours=1),
        )  # fmt: skip
    return Run.objects.get(number=QUEUED + 1)


def test_the_queue_with_thousands_in_line(long_line: Run, alice: User) -> None:
    client, api = signed_in(alice), api_of(alice)
    runs = f"/p/{long_line.project.slug}/runs/"
    asked: dict[str, Callable[[], Any]] = {
        "where one run stands": lambda: queue.places([long_line]),
        "the page Queue": lambda: client.get("/queue/"),
        "100 of the line through REST": lambda: api.get("/api/v1/queue/?limit=100"),
        "100 queued runs through REST": lambda: api.get("/api/v1/projects/intents/runs/"),
        "the table of runs": lambda: client.get(runs),
        "the page of a queued run": lambda: client.get(f"{runs}{long_line.number}/"),
    }
    print(f"\n{QUEUED} runs in line, {WORKERS} workers; CPU of each, median of {TIMES}")
    for what, ask in asked.items():
        ask()
        took = []
        for _ in range(TIMES):
            began = time.process_time()
            answer = ask()
            took.append(time.process_time() - began)
        assert getattr(answer, "status_code", 200) == 200
        print(f"  {what:30} {statistics.median(took) * 1000:6.0f} ms")
