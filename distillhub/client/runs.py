"""Runs that the hub's workers train."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from distillhub.client import progress
from distillhub.client.connection import JSON, Connection, Progress

GLANCE = 1.0  # seconds between two looks
OVER = frozenset({"finished", "failed", "cancelled"})


class Failed(Exception):
    """What was waited for came to no good end; its sentence says why."""


class Run:
    def __init__(self, connection: Connection, project: str, told: JSON) -> None:
        self.connection, self.project, self.told = connection, project, told
        self.number: int = told["number"]
        self.path = f"{project}runs/{self.number}/"

    def __repr__(self) -> str:
        return f"run/{self.number}"

    @property
    def status(self) -> str:
        """As it was when last asked; `refresh` asks."""
        return str(self.told["status"])

    @property
    def is_over(self) -> bool:
        return self.status in OVER

    def refresh(self) -> "Run":
        self.told = self.connection.get(self.path)
        return self

    def watched(self, *, every: float = GLANCE) -> Iterator[JSON]:
        """The run again and again, while it goes on and once when it is over."""
        while True:
            self.refresh()
            yield self.told
            if self.is_over:
                return
            time.sleep(every)

    def wait(self, *, seconds: float | None = None) -> "Run":
        """Until it is over. Raises Failed unless it finished, and TimeoutError."""
        give_up = None if seconds is None else time.monotonic() + seconds
        for _ in self.watched():
            if give_up is not None and time.monotonic() > give_up and not self.is_over:
                raise TimeoutError(f"{self} is still {self.status}.")
        if self.status != "finished":
            error = self.told.get("error") or {}
            raise Failed(f"{self} {self.status}: {error.get('detail') or 'it was cancelled.'}")
        return self

    def watch(self, *, show: Callable[[str], Any] | None = None) -> "Run":
        """Wait, with a bar of its progress in the terminal or notebook; `show` takes lines in
        place of it. Raises like `wait`."""
        progress.watch(self, show=show)
        return self.wait()

    def metrics(self, *names: str, max_points: int = 1000) -> dict[str, JSON]:
        """`{name: {"steps", "values", "times", "count", "thinned"}}`."""
        asked = {"names": ",".join(names), "max_points": max_points}
        found: dict[str, JSON] = self.connection.get(f"{self.path}metrics/", **asked)["series"]
        return found

    def logs(self) -> Iterator[JSON]:
        """Every line of its console so far."""
        cursor = None
        while True:
            answer = self.connection.get(f"{self.path}logs/", after=cursor)
            yield from answer["lines"]
            cursor = answer["cursor"]
            if not answer["more"]:
                return

    def evaluation(self) -> JSON:
        return self.connection.get(f"{self.path}evaluation/")

    def artifacts(self) -> list[JSON]:
        answer = self.connection.get(f"{self.path}artifacts/")
        found: list[JSON] = answer["results"] if isinstance(answer, dict) else answer
        return found

    def cancel(self) -> "Run":
        self.connection.post(f"{self.path}cancel/")
        return self.refresh()

    @property
    def output(self) -> str:
        """The model that it made: `tiny@2`. Raises LookupError where it made none."""
        made = self.told.get("output")
        if not made:
            raise LookupError(f"{self} is {self.status} and made no model.")
        return str(made)

    def download(self, target: str | Path, *, moved: Progress | None = None) -> Path:
        """The model that it made, as a zip. Raises LookupError where it made none."""
        name, _, number = self.refresh().output.partition("@")
        path = f"{self.project}models/{name}/versions/{number}/download/"
        return self.connection.download(path, Path(target), moved=moved)
