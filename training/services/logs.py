"""Reading a run's console, from a cursor on, or all of it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from django.db.models import F

from training.models import LogChunk, Run

MOST = 5000  # lines in one answer


def read(*, run: Run, after: int = 0, limit: int = 1000) -> dict[str, Any]:
    """`{"lines": [{"n", "time", "level", "text"}], "cursor"}`: the lines after line `after`.

    Ask again with the returned `cursor` for what came since; it costs what is new, not what is old.
    """
    limit = max(1, min(limit, MOST))
    lines: list[dict[str, Any]] = []
    chunks = LogChunk.objects.filter(run=run, first_line__gt=after - F("count")).order_by("index")
    for chunk in chunks.iterator(chunk_size=4):
        lines.extend(line for line in chunk.lines if line["n"] > after)
        if len(lines) >= limit:
            break
    lines = lines[:limit]
    return {"lines": lines, "cursor": lines[-1]["n"] if lines else after}


def last(*, run: Run, count: int = 200) -> dict[str, Any]:
    """The newest lines, in the order they were written, as `read` gives them."""
    tail = LogChunk.objects.filter(run=run).order_by("-index").first()
    newest = tail.first_line + tail.count - 1 if tail is not None else 0
    return read(run=run, after=max(0, newest - count), limit=count)


def as_text(*, run: Run) -> Iterator[str]:
    """Every line as plain text for a download, a chunk at a time."""
    for chunk in LogChunk.objects.filter(run=run).order_by("index").iterator(chunk_size=4):
        yield "".join(
            f"{datetime.fromtimestamp(line['time'], UTC):%Y-%m-%d %H:%M:%S} "
            f"{line['level'].upper():7} {line['text']}\n"
            for line in chunk.lines
        )
