"""Reading the engine's journal while it is written: whole lines from a byte offset on."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PIECE = 1 << 20  # bytes read at a time, so that a long spool is worked off in bounded steps

#: Events that end an attempt; what follows them belongs to the next one.
LAST = frozenset({"finished", "failed", "stopped"})


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in order, and the offset after them; `last` ended the attempt, and is kept apart
    because its offset is only written together with what it leads to."""

    events: list[dict[str, Any]]
    offset: int
    last: dict[str, Any] | None = None
    last_offset: int = 0


def read(path: Path, offset: int) -> Batch:
    """The next whole lines after `offset`, at most up to one that ends an attempt."""
    events: list[dict[str, Any]] = []
    for event, end in _lines(path, offset):
        if event is not None and event["type"] in LAST:
            return Batch(events, offset, event, end)
        offset = end
        if event is not None:
            events.append(event)
    return Batch(events, offset)


def begin(path: Path, event: dict[str, Any]) -> None:
    """Write the first line of a journal, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(event) + "\n")
    part.replace(path)


def moment(event: dict[str, Any]) -> float:
    """When it was told, in seconds since the epoch."""
    at = event.get("at")
    return float(at) if isinstance(at, int | float) and math.isfinite(at) else time.time()


def _lines(path: Path, offset: int) -> Iterator[tuple[dict[str, Any] | None, int]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        budget = PIECE
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            budget -= len(line)
            yield _event(line), offset
            if budget < 0:
                return


def _event(line: bytes) -> dict[str, Any] | None:
    """None for a line that is no event: a journal is never a reason to stop a training."""
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(event, dict) and isinstance(event.get("type"), str):
        return event
    return None
