"""What a training's processes print, line by line into the run's console, each line once.

The file they print to belongs to one attempt. How far it is read stands in a row that is changed
together with the lines, so a worker that takes over reads on where the last one stopped.
"""

import os
from pathlib import Path

from django.db import transaction

from training.models import RunConsole
from training.worker import logs, registration
from training.worker.claims import Held

MOST_AT_ONCE = 256 << 10  # bytes that one look turns into lines
MOST_BEHIND = 8 << 20  # bytes; who prints faster than lines are stored loses what is between
MOST_IN_FILE = 32 << 20  # bytes; what is read of a longer file goes
LONGEST_UNENDED = 16 << 10  # bytes without an end of line: a progress bar, most likely


class Console:
    """The console of one attempt, read from its file."""

    def __init__(self, held: Held, file: Path, offset: int = 0, attempt: int | None = None) -> None:
        self.held, self.file, self.offset = held, file, offset
        self.attempt = held.attempt if attempt is None else attempt

    def write(self, *, is_over: bool = False) -> None:
        """Store the whole lines that came since the last time. `is_over`: nothing more will come,
        and all of it is stored. Raises claims.Fenced, and DatabaseError when away."""
        while True:
            lines, offset = self._look(is_over)
            if offset == self.offset:
                return
            self._store(lines, offset)
            if not is_over:
                return

    def begin(self, sentence: str) -> None:
        """Note that an attempt begins here."""
        self._store([logs.Line(registration.now(), "attempt", sentence)], 0)

    def _store(self, lines: list[logs.Line], offset: int) -> None:
        with transaction.atomic():
            self.held.write()
            logs.append(self.held.run, lines)
            RunConsole.objects.bulk_create(
                [RunConsole(run=self.held.run, attempt=self.attempt, offset=offset)],
                update_conflicts=True,
                unique_fields=["run"],
                update_fields=["attempt", "offset"],
            )
        self.offset = offset
        if offset > MOST_IN_FILE and offset == self._size():
            os.truncate(self.file, 0)  # it is appended to: what is printed next is at its beginning
            self.offset = 0

    def _look(self, is_over: bool) -> tuple[list[logs.Line], int]:
        size = self._size()
        offset = self.offset if self.offset <= size else 0
        now = registration.now()
        lines = []
        if size - offset > MOST_BEHIND:
            skipped = size - MOST_AT_ONCE - offset
            text = f"… {skipped:,} bytes are not kept: more is printed than can be stored."
            lines.append(logs.Line(now, "cut", text))
            offset += skipped
        if size == offset:
            return lines, offset
        with self.file.open("rb") as file:
            file.seek(offset)
            data = file.read(MOST_AT_ONCE)
        ends = data.rfind(b"\n") + 1
        is_all = is_over and offset + len(data) == size
        if is_all or (not ends and len(data) > LONGEST_UNENDED):
            ends = len(data)
        lines += [
            logs.Line(now, "output", as_seen(text))
            for text in data[:ends].decode("utf-8", "replace").removesuffix("\n").split("\n")
            if ends
        ]
        return lines, offset + ends

    def _size(self) -> int:
        try:
            return self.file.stat().st_size
        except FileNotFoundError:
            return 0


def file_of(folder: Path, attempt: int) -> Path:
    return folder / f"console-{attempt}.log"


def catch_up(held: Held, folder: Path) -> None:
    """Store what an earlier attempt printed and nobody read any more."""
    row = RunConsole.objects.filter(run=held.run).first()
    if row is not None and row.attempt != held.attempt:
        Console(held, file_of(folder, row.attempt), row.offset, row.attempt).write(is_over=True)


def as_seen(text: str) -> str:
    """A line as a terminal shows it in the end: what comes after a carriage return is written over
    what was there."""
    parts = [part for part in text.split("\r") if part]
    return parts[-1] if parts else ""
