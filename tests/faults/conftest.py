"""Stacks that the faults strike, each with what an undisturbed run left."""

import os
import random
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.faults.checker import Outcome, check_nothing_left, outcome
from tests.faults.stack import Stack, Watched, started
from tests.site import servers

SEED = os.environ.get("FAULTS_SEED") or secrets.token_hex(4)


@dataclass(frozen=True)
class Struck:
    """A stack, and what a run leaves that nobody disturbs."""

    stack: Stack
    undisturbed: Outcome

    @property
    def steps(self) -> int:
        return self.undisturbed.steps


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random moments; the seed is printed where a test fails."""
    print(f"FAULTS_SEED={SEED}")
    return random.Random(f"{SEED} {request.node.name}")


def ready(stack: Stack, **changes: Any) -> Struck:
    run = stack.launch(**changes)
    assert run.until_over() == "finished", str(run)
    return Struck(stack, outcome(run))


def strike_at(run: Watched, struck: Struck, chance: random.Random) -> None:
    """Wait for a random step of its first seven tenths."""
    run.until_step(chance.randrange(1, struck.steps * 7 // 10))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Struck]:
    """SQLite, a folder of messages, one worker that is the scheduler, too."""
    with started(Stack(tmp_path_factory.mktemp("embedded"))) as stack:
        yield ready(stack)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Struck]:
    """PostgreSQL, Redis, a scheduler, two workers."""
    folder = tmp_path_factory.mktemp("served")
    with (
        servers.postgres_server() as database,
        servers.redis_server(folder / "redis") as broker,
        started(Stack(folder, database=database, broker=broker), [{}, {}]) as stack,
    ):
        yield ready(stack)


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Whatever a test has struck, the next one finds it whole."""
    yield
    for name in ("embedded", "served"):
        if name in request.fixturenames:
            stack: Stack = request.getfixturevalue(name).stack
            for worker in list(stack.workers):
                if worker.process.poll() is not None:
                    stack.replace(worker)
            check_nothing_left(stack)
