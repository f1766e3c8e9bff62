"""How our processes' lines look, and what a line is about.

    with about(run=12, attempt=2):
        log.warning("The database is away.")    # ... [run=12 attempt=2] The database is away.

`LOG_FORMAT=json` makes each line one JSON object with `run` and `attempt` beside what it says.
"""

import contextlib
import json
import logging
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

Facts = dict[str, Any]

_facts: ContextVar[Facts] = ContextVar("facts", default={})  # noqa: B039 - never changed in place

#: What every record has; anything else was given by `extra`.
OWN = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "color_message"}


@contextlib.contextmanager
def about(**facts: Any) -> Iterator[None]:
    """Lines of this thread inside the block tell these facts."""
    token = _facts.set(_facts.get() | facts)
    try:
        yield
    finally:
        _facts.reset(token)


def facts() -> Facts:
    """What lines of this thread tell now."""
    return _facts.get()


def _of(record: logging.LogRecord) -> Facts:
    given = {name: value for name, value in vars(record).items() if name not in OWN}
    # Django's and Celery's objects are no facts.
    return _facts.get() | {
        name: value for name, value in given.items() if isinstance(value, str | int | float | bool)
    }


class Line(logging.Formatter):
    """For people: `2026-01-31 12:00:00,000 WARNING training.worker.runs: [run=12] …`"""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(about)s%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        facts = _facts.get()
        told = " ".join(f"{name}={value}" for name, value in facts.items())
        vars(record)["about"] = f"[{told}] " if told else ""
        try:
            return super().format(record)
        finally:
            del vars(record)["about"]


class Json(logging.Formatter):
    """For programs: one object a line, times in UTC."""

    converter = time.gmtime  # type: ignore[assignment]

    def format(self, record: logging.LogRecord) -> str:
        seconds = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        line: Facts = {
            "time": f"{seconds}.{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
        }
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return json.dumps(_of(record) | line, ensure_ascii=False, default=str)
