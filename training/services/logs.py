"""Reading a run's console: from a cursor on, the lines that hold some words, or all of it."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import F

from training.models import LogChunk, Run
from training.worker.logs import HEAD, LINES, TAIL

MOST = 5000  # lines in one answer
LONGEST_SEARCH = 1.0  # seconds that one search takes; it goes on from its cursor
MOST_WORDS = 200  # characters that are searched for


def read(
    *, run: Run, after: int = 0, limit: int = 1000, q: str = "", attempt: int | None = None
) -> dict[str, Any]:
    """`{"lines": [{"n", "time", "level", "text", "attempt"}], "cursor", "more"}`: the lines after
    line `after`, those of one attempt, or those that hold the words `q`, upper or lower case.

    Ask again with the returned `cursor` for what came since; it costs what is new, not what is old.
    `more`: not all that is there was looked at. Where lines are no longer kept, one of the level
    `cut` stands in their place.
    """
    limit = max(1, min(limit, MOST))
    words = q[:MOST_WORDS].casefold()
    until = time.monotonic() + LONGEST_SEARCH
    lines: list[dict[str, Any]] = []
    cursor = after
    chunks = LogChunk.objects.filter(run=run, first_line__gt=after - F("count")).order_by("index")
    for chunk in chunks.iterator(chunk_size=4):
        if chunk.first_line > cursor + 1 and not words and attempt is None:
            lines.append(_gap(cursor + 1, chunk))
        for line in chunk.lines:
            if line["n"] <= cursor:
                continue
            if len(lines) >= limit or time.monotonic() > until:
                return {"lines": lines, "cursor": cursor, "more": True}
            cursor = line["n"]
            of = line.setdefault("attempt", 1)
            if attempt not in (None, of) or (words and words not in line["text"].casefold()):
                continue
            lines.append(line)
    return {"lines": lines, "cursor": cursor, "more": False}


def last(*, run: Run, count: int = 200) -> dict[str, Any]:
    """The newest lines, in the order they were written, as `read` gives them."""
    return read(run=run, after=max(0, total(run=run) - count), limit=count)


def total(*, run: Run) -> int:
    """How many lines there were, those included that are no longer kept."""
    tail = LogChunk.objects.filter(run=run).order_by("-index").only("first_line", "count").first()
    return tail.first_line + tail.count - 1 if tail is not None else 0


def as_text(*, run: Run) -> Iterator[str]:
    """Every line as plain text for a download, a chunk at a time."""
    expected = 1
    for chunk in LogChunk.objects.filter(run=run).order_by("index").iterator(chunk_size=4):
        gap = [_gap(expected, chunk)] if chunk.first_line > expected else []
        expected = chunk.first_line + chunk.count
        yield "".join(
            f"{datetime.fromtimestamp(line['time'], UTC):%Y-%m-%d %H:%M:%S} "
            f"{line['level'].upper():7} {line['text']}\n"
            for line in [*gap, *chunk.lines]
        )


def _gap(first: int, chunk: LogChunk) -> dict[str, Any]:
    """Says what is missing before a chunk."""
    count = chunk.first_line - first
    return {
        "n": chunk.first_line - 1,
        "time": chunk.lines[0]["time"],
        "level": "cut",
        "text": f"… {count:,} lines are no longer kept, only about the first "
        f"{HEAD * LINES:,} and the newest {TAIL * LINES:,}.",
        "attempt": chunk.lines[0].get("attempt", 1),
    }
