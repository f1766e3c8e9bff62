"""People who look at an installation: most look around, some watch a run train.

Started by `python -m tests.load`, which says in LOAD where a file of what is there lies.
"""

import itertools
import json
import os
import random
from pathlib import Path
from typing import Any

from locust import HttpUser, between, constant, task

FOUND: dict[str, Any] = json.loads(Path(os.environ["LOAD"]).read_text())
RUNS = "/p/load/runs/"
API = "/api/v1/projects/load/runs/"
SESSIONS = itertools.cycle(FOUND["sessions"])


class Person(HttpUser):  # type: ignore[misc]
    abstract = True

    def on_start(self) -> None:
        self.client.cookies.set("distillhub_session", next(SESSIONS))

    def look(self, address: str, name: str, **query: str) -> Any:
        """A page or an answer, which is there."""
        with self.client.get(address, params=query, name=name, catch_response=True) as answer:
            if answer.status_code != 200:  # a redirection to the sign-in page ends in 200, too
                answer.failure(f"{answer.status_code}")
            elif "/sign-in/" in (answer.url or ""):
                answer.failure("was signed out")
        return answer

    def ended(self) -> str:
        return f"{RUNS}{random.randint(2, FOUND['runs'])}/"


class Visitor(Person):
    """Looks around."""

    weight = 3
    wait_time = between(2, 6)

    @task(6)
    def runs(self) -> None:
        self.look(RUNS, "runs")

    @task(3)
    def runs_ordered(self) -> None:
        order = random.choice(("-score", "-validation", "duration", "-loss"))
        self.look(RUNS, "runs in order", order=order, page=str(random.randint(1, 20)))

    @task(2)
    def runs_found(self) -> None:
        self.look(RUNS, "runs by name", q=f"run {random.randint(10, 99)}")

    @task(6)
    def one(self) -> None:
        self.look(self.ended(), "run")

    @task(3)
    def curves(self) -> None:
        self.look(self.ended(), "run, curves", tab="curves")

    @task(1)
    def long_curves(self) -> None:
        self.look(f"{RUNS}{FOUND['long']}/", "a million points, curves", tab="curves")

    @task(1)
    def home(self) -> None:
        self.look("/", "home")

    @task(1)
    def project(self) -> None:
        self.look("/p/load/", "project")

    @task(1)
    def queue(self) -> None:
        self.look("/queue/", "queue")

    @task(1)
    def workers(self) -> None:
        self.look("/workers/", "workers")


class Watcher(Person):
    """Has the page of a run in training open."""

    weight = 2
    wait_time = constant(2)  # as live.js asks

    def on_start(self) -> None:
        super().on_start()
        self.page = f"{RUNS}{random.choice(FOUND['live'] or [FOUND['long']])}/"
        self.look(self.page, "run in training")
        self.since: dict[str, str] = {}

    @task
    def poll(self) -> None:
        first = not self.since
        name = "run in training, all so far" if first else "run in training, what is new"
        answer = self.look(f"{self.page}live/", name, **self.since)
        if answer.ok:
            told = answer.json()
            self.since = {"since_step": str(told["step"]), "after": str(told["cursor"])}


class Program(HttpUser):  # type: ignore[misc]
    """Reads through REST."""

    fixed_count = 2
    wait_time = between(1, 3)

    def on_start(self) -> None:
        self.client.headers["Authorization"] = f"Bearer {FOUND['token']}"

    @task(2)
    def search(self) -> None:
        query = {"filter": "metrics.val/accuracy > 0.5", "order": "-metrics.val/accuracy"}
        self.client.get(API, params=query, name="REST: search, ordered")

    @task(1)
    def history(self) -> None:
        address = f"{API}{FOUND['long']}/metrics/"
        query = {"names": "train/loss", "max_points": "1000"}
        self.client.get(address, params=query, name="REST: a million points, thinned")
