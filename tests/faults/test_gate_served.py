"""The short gate, on servers: PostgreSQL, Redis, a scheduler, two workers."""

import contextlib
import json
import random
import signal
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import celery
import pytest

from tests.faults.checker import check_ended, check_finished
from tests.faults.conftest import Struck
from tests.faults.stack import CONFIGURATION, PROJECT, Watched, after, send, visited
from tests.site.processes import until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("faults-served")]


def test_a_killed_worker_that_stays_away_is_replaced_by_another(
    served: Struck, chance: random.Random
) -> None:
    run = served.stack.launch()
    run.until_step(chance.randrange(1, served.steps * 7 // 10))
    run.worker.kill()
    check_finished(
        run,
        served.undisturbed,
        r"Worker \S+ went silent at step \d+\.",
        r"Taken by worker \S+, attempt 2\.",
        r"(Continued from step|Begun again)",
    )


def test_a_worker_that_was_frozen_past_its_lease_cannot_spoil_its_successor(
    served: Struck, chance: random.Random
) -> None:
    run = served.stack.launch()
    run.until_step(chance.randrange(1, served.steps * 7 // 10))
    frozen = run.worker
    frozen.send(signal.SIGSTOP)
    try:
        # Also when it froze within a transaction, and holds the run's row.
        until(lambda: run.column("attempt") == 2, what=run.__str__)
        after(chance.uniform(0, 4))
    finally:
        frozen.send(signal.SIGCONT)
    check_finished(run, served.undisturbed, r"went silent", r"attempt 2")
    assert run.column("attempt") == 2
    assert frozen.process.poll() is None


def test_what_dies_three_times_at_one_step_is_not_tried_for_ever(
    served: Struck, chance: random.Random
) -> None:
    run = served.stack.launch()
    killed: set[int] = set()
    while run.status not in {"failed", "finished"}:
        with contextlib.suppress(AssertionError):
            pid = run.child()
            if pid not in killed:
                after(chance.uniform(0, 0.5))  # before it has come to its first step
                run.kill_child()
                killed.add(pid)
        after(0.05)
    assert len(killed) == 3
    check_ended(
        run,
        "failed",
        r"It died 3 times in a row at step 0, .* probably out of memory\. Try a smaller",
    )
    assert run.column("attempt") == 3


def test_one_message_delivered_five_times_is_one_training(
    served: Struck, chance: random.Random
) -> None:
    assert served.stack.broker is not None
    app = celery.Celery(broker=served.stack.broker.address, set_as_current=False)
    run = served.stack.launch()
    for _ in range(5):
        app.send_task("training.execute_run", kwargs={"run_id": run.pk}, queue="default")
        after(chance.uniform(0, 0.5))
    check_finished(run, served.undisturbed)
    assert run.column("attempt") == 1
    assert [one for one in run.timeline if one.startswith("Taken by")] == run.timeline[1:2]
    app.close()


def test_a_broker_that_is_killed_and_comes_back_empty_loses_no_run(
    served: Struck, chance: random.Random
) -> None:
    stack = served.stack
    assert stack.broker is not None
    training = [stack.launch() for _ in range(2)]
    for run in training:
        run.child()
    waiting = [stack.launch(), stack.launch()]
    training[0].until_step(chance.randrange(1, served.steps // 2))
    stack.broker.kill()
    submitted = stack.launch()  # pages need no broker
    after(chance.uniform(0, 3))
    stack.broker.start()
    for run in [*training, *waiting, submitted]:
        check_finished(run, served.undisturbed)
        assert run.column("attempt") == 1


def test_a_database_that_is_killed_is_waited_for(served: Struck, chance: random.Random) -> None:
    stack = served.stack
    assert stack.database is not None
    run = stack.launch()
    run.until_step(chance.randrange(1, served.steps * 7 // 10))
    with visited(stack, run) as answers:
        stack.database.kill()
        after(chance.uniform(1, 5))
        stack.database.start()
        until(stack.answers)
        check_finished(run, served.undisturbed)
    statuses = Counter(status for status, _ in answers)
    assert set(statuses) <= {200, 503}, statuses
    assert all(retry for status, retry in answers if status == 503)


def test_fifty_posts_with_one_key_are_one_run(served: Struck) -> None:
    stack = served.stack

    def post(_: int) -> tuple[int, int]:
        key = {"Idempotency-Key": "a double click"}
        for _ in range(30):
            status, headers, answer = send(stack, f"{PROJECT}/runs/", CONFIGURATION, **key)
            if status != 409:
                return status, json.loads(answer)["number"]
            assert headers["Retry-After"]
            time.sleep(1)
        raise AssertionError("told to come back, again and again")

    before = stack.rows("SELECT count(*) FROM training_run")
    with ThreadPoolExecutor(50) as pool:
        answers = Counter(pool.map(post, range(50)))
    assert len(answers) == 1, answers
    [(status, number)] = answers
    assert status == 201
    assert stack.rows("SELECT count(*) FROM training_run") == [(before[0][0] + 1,)]
    check_finished(Watched(stack, number), served.undisturbed)
