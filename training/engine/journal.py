"""The append-only journal of a job: one JSON object a line, `seq` rising by one, written through
to the file at once, so that a killed process leaves every event it told and at most one torn line.
"""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from training.engine import events

#: The exit status of a job whose last line found no room on the disk.
NO_ROOM = 28
#: The signal at which a job prints where each of its threads stands.
SAY_WHERE = signal.SIGUSR1
LASTING = {"Resumed", "Saved", "Halted", "Failed", "Finished"}  # also survive a power cut


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class Journal:
    """Open for appending; opening an existing journal cuts a torn last line and goes on counting.

    Used by one process at a time: the child of a worker owns its job folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seq = _mend(path)
        self._file = path.open("ab", buffering=0)
        self._size = path.stat().st_size

    def write(self, event: events.Event) -> None:
        """Append one event, whole or not at all. Raises OSError when the disk is full."""
        line = {"seq": self.seq + 1, "at": round(time.time(), 3), **events.as_line(event)}
        try:
            text = _ENCODER.encode(line)
        except ValueError:  # NaN and infinities, which JSON has no numbers for, as words
            text = _ENCODER.encode(events.finite(line))
        self._append(text.encode("utf-8", "replace") + b"\n")
        self.seq += 1
        if type(event).__name__ in LASTING:
            os.fsync(self._file.fileno())

    def _append(self, line: bytes) -> None:
        """A disk that fills up takes the beginning of a line and says so only at the next one."""
        rest = memoryview(line)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError:
            os.ftruncate(self._file.fileno(), self._size)
            raise
        self._size += len(line)

    def close(self) -> None:
        if not self._file.closed:
            os.fsync(self._file.fileno())
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole line of a journal, in order; a torn last line is not there."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield json.loads(line)


def _mend(path: Path) -> int:
    """Cut what follows the last newline, and return the last sequence number (0 when new)."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole != len(content):
        os.truncate(path, whole)
    if whole == 0:
        return 0
    last = content[content.rfind(b"\n", 0, whole - 1) + 1 : whole]
    return int(json.loads(last)["seq"])
