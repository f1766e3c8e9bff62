"""Writing a run's console: lines in chunks of some hundreds, numbered from 1.

It is bounded: the first lines and the newest are kept, and those between go, chunk by chunk. Lines
keep their numbers, so a reader sees where some are missing.
"""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from training.models import LogChunk, Run

LINES = 500  # in a full chunk
CHARACTERS = 64_000  # in a full chunk, at which it closes early
HEAD = 20  # chunks from the beginning that stay
TAIL = 180  # newest chunks that stay: at most 100 000 lines, or 13 million characters
LONGEST = 4000  # characters of a line

#: A console's commands (colours, cursor, titles, links): sequences that terminals act on.
COMMANDS = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"
    r"|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?"
    r"|\x1b[ -/]*[0-~]"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
#: What has no shape of its own, or turns the direction of what follows.
INVISIBLE = re.compile(
    "[\x01-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028\u2029\u202a-\u202e\u2060"
    "\u2066-\u2069\ufeff\ufff9-\ufffb]"
)


class Line(NamedTuple):
    time: float  # seconds since the epoch
    level: str  # info, warning, error; output: printed by a process; attempt: one begins here
    text: str


def append(run: Run, lines: Iterable[Line]) -> None:
    """Number the lines and store them; call it inside a transaction."""
    tail = LogChunk.objects.filter(run=run).order_by("-index").first()
    number = tail.first_line + tail.count if tail is not None else 1
    made: list[LogChunk] = []
    open_one = tail if tail is not None and not _is_full(tail.lines) else None
    for line in lines:
        for text in line.text.splitlines() or [""]:
            if open_one is None or _is_full(open_one.lines):
                index = 0 if tail is None else tail.index + 1
                open_one = LogChunk(run=run, index=index + len(made), first_line=number, lines=[])
                made.append(open_one)
            open_one.lines.append(
                {
                    "n": number,
                    "time": round(line.time, 3),
                    "level": line.level,
                    "text": harmless(text),
                    "attempt": run.attempt,
                }
            )
            number += 1
    if tail is not None and len(tail.lines) > tail.count:
        tail.count = len(tail.lines)
        tail.save(update_fields=["lines", "count"])
    for chunk in made:
        chunk.count = len(chunk.lines)
    LogChunk.objects.bulk_create(made)
    if made and made[-1].index >= HEAD + TAIL:
        middle = LogChunk.objects.filter(run=run, index__gte=HEAD, index__lte=made[-1].index - TAIL)
        middle.delete()


def harmless(text: str) -> str:
    """A line as it may be shown, stored and printed anywhere: of bounded length, without commands
    to a terminal, invisible characters, and what PostgreSQL cannot keep (NUL, half surrogates)."""
    text = COMMANDS.sub("", text[: 4 * LONGEST])
    text = INVISIBLE.sub("", text).replace("\x00", "�").encode("utf-8", "replace").decode()
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def _is_full(lines: list[dict[str, Any]]) -> bool:
    if len(lines) >= LINES:
        return True
    # The longest possible chunk is looked at only where lines are long.
    return len(lines) > CHARACTERS // LONGEST and (
        sum(len(line["text"]) for line in lines) >= CHARACTERS
    )
