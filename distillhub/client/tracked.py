"""A run that this program trains, told of from a thread: the training neither waits nor fails."""

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from distillhub.client.connection import Connection, Refused, Unreachable
from distillhub.client.runs import Run

log = logging.getLogger("distillhub.client")

EVERY = 1.0  # seconds that a point waits for others
MOST_POINTS = 5_000  # of one request
MOST_LINES = 1_000
MOST_WAITING = 1_000_000  # points and lines in memory while the hub is away
LAST = 60.0  # seconds that the end waits for what was not sent yet


class TrackedRun(Run):
    """`log` and `say` put into memory and return. What is sent twice counts once."""

    def __init__(self, connection: Connection, project: str, told: Any) -> None:
        super().__init__(connection, project, told)
        self.dropped = 0
        self.is_cancelled = False
        """Somebody cancelled it at the hub: a training may look, and stop."""
        self._points: deque[dict[str, Any]] = deque()
        self._lines: deque[dict[str, Any]] = deque()
        self._lock = threading.Lock()
        self._came = threading.Event()
        self._closing = False
        self._thread: threading.Thread | None = None

    def log(self, values: Mapping[str, float], *, step: int) -> None:
        """One point of each series."""
        now = datetime.now(UTC).isoformat()
        for name, value in values.items():
            self._put(
                self._points,
                {"name": name, "step": step, "value": _plain(value), "time": now},
            )

    def say(self, text: str, *, level: str = "output") -> None:
        """A line of its console: output, info, warning or error."""
        now = datetime.now(UTC).isoformat()
        self._put(self._lines, {"text": text, "level": level, "time": now})

    def describe(self, *, params: Mapping[str, Any] | None = None, **more: Any) -> None:
        """At once: parameters, laid over those there are; `notes`, `tags`, `steps`, `stage`."""
        body = {**more, **({"params": dict(params)} if params is not None else {})}
        self.told = self.connection.patch(self.path, body)

    def end(self, status: str = "finished", *, error: str = "") -> None:
        """Send what waits, and say how it ended: finished, failed or cancelled."""
        self._closing = True
        self._came.set()
        if self._thread is not None:
            self._thread.join(LAST)
        body = {"status": status, **({"error": error[:2000]} if error else {})}
        try:
            self.told = self.connection.post(f"{self.path}end/", body)
        except (Refused, Unreachable) as fault:
            log.warning("The end of %s was not told: %s", self, fault)

    def __enter__(self) -> "TrackedRun":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.end()
        elif isinstance(error, KeyboardInterrupt):
            self.end("cancelled")
        else:
            self.end("failed", error=f"{type(error).__name__}: {error}")

    # -- the thread -------------------------------------------------------------------------------

    def _put(self, queue: deque[dict[str, Any]], one: dict[str, Any]) -> None:
        with self._lock:
            queue.append(one)
            if len(queue) > MOST_WAITING:
                queue.popleft()
                self.dropped += 1
            if self._thread is None and not self._closing:
                self._thread = threading.Thread(target=self._send_all, daemon=True)
                self._thread.start()
            is_full = len(queue) >= MOST_POINTS
        if is_full:
            self._came.set()

    def _send_all(self) -> None:
        while not self.is_cancelled:
            if not self._closing:
                self._came.wait(EVERY)
            self._came.clear()
            sent = self._send("metrics/", "points", self._points, MOST_POINTS)
            sent |= self._send("logs/", "lines", self._lines, MOST_LINES)
            if self._closing and not sent:
                return

    def _send(self, place: str, noun: str, queue: deque[dict[str, Any]], most: int) -> bool:
        """Whether there was anything. What could not be sent stays at the head of the line."""
        with self._lock:
            batch = [queue.popleft() for _ in range(min(most, len(queue)))]
        if not batch:
            return False
        try:
            self.connection.post(f"{self.path}{place}", {noun: batch})
        except Refused as refused:
            self.is_cancelled = refused.code == "cancelled"
            self.dropped += len(batch)
            log.warning("%s took no %s: %s", self, noun, refused)
        except Unreachable as away:
            log.warning("%s; %d %s wait.", away, len(batch), noun)
            with self._lock:
                queue.extendleft(reversed(batch))
            if self._closing:
                return False
            time.sleep(EVERY)
        return True


def _plain(value: Any) -> float | str:
    """As JSON can hold it; what is no number is sent by its name."""
    number = float(value)  # also a tensor or an array of one
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else ("Infinity" if number > 0 else "-Infinity")
