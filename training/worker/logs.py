"""Writing a run's console: lines in chunks of some hundreds, numbered from 1."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from training.models import LogChunk, Run

LINES = 500  # in a full chunk
MOST_LINES = 100_000  # of a run; a training that says more repeats itself
LONGEST = 4000  # characters of a line


class Line(NamedTuple):
    time: float  # seconds since the epoch
    level: str
    text: str


def append(run: Run, lines: Iterable[Line]) -> None:
    """Number the lines and store them; call it inside a transaction."""
    tail = LogChunk.objects.filter(run=run).order_by("-index").first()
    number = tail.first_line + tail.count if tail is not None else 1
    fresh: list[dict[str, Any]] = []
    for line in lines:
        for text in line.text.splitlines() or [""]:
            if number > MOST_LINES:
                break
            if number == MOST_LINES:
                text = f"… {MOST_LINES} lines are enough; what follows is not kept."
            fresh.append(
                {
                    "n": number,
                    "time": round(line.time, 3),
                    "level": line.level,
                    "text": _storable(text),
                }
            )
            number += 1
    if tail is not None and tail.count < LINES and fresh:
        taken = fresh[: LINES - tail.count]
        tail.lines = [*tail.lines, *taken]
        tail.count += len(taken)
        tail.save(update_fields=["lines", "count"])
        fresh = fresh[len(taken) :]
    index = tail.index + 1 if tail is not None else 0
    LogChunk.objects.bulk_create(
        LogChunk(
            run=run,
            index=index + place,
            first_line=fresh[begin]["n"],
            count=len(fresh[begin : begin + LINES]),
            lines=fresh[begin : begin + LINES],
        )
        for place, begin in enumerate(range(0, len(fresh), LINES))
    )


def _storable(text: str) -> str:
    """Without what PostgreSQL cannot keep (NUL, half surrogates), and of bounded length."""
    text = text.replace("\x00", "�").encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
