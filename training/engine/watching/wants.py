"""What a look needs and could not know before it had read the batches: windows that rows and late
labels fall into, parts that tell ids, pictures that rows name.

The child writes `wants-N.json`, the worker answers with `given-N.json` and the files beside it:

    {"windows": [number, ...], "files": [sha256, ...]}
    {"windows": {number: {"path", "rows", "late_rows", "judged"}}, "files": {sha256: path or null}}

Paths are relative to the folder. A window that is not there yet, or a file that is gone, is null.
So a look costs what it touches, however many days of history there are.
"""

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.engine.errors import EngineError

GLANCE = 0.02  # seconds between two looks for the answer
PATIENCE = 600.0  # seconds; a worker whose database is away answers late
AT_ONCE = 500  # files asked for in one go


class Unanswered(EngineError):
    """Nobody gave what was asked for: the database or storage is away for long."""

    code = "away"


@dataclass(frozen=True, slots=True)
class Kept:
    """A window as it was."""

    sums: bytes
    rows: int
    late_rows: int
    judged: bool


class Wants:
    """One for each look. What was given is remembered, and not asked for twice."""

    def __init__(self, folder: Path, *, patience: float = PATIENCE) -> None:
        self.folder, self.patience = folder, patience
        self._asked = 0
        self._windows: dict[int, Kept | None] = {}
        self._files: dict[str, Path | None] = {}

    def windows(self, numbers: Iterable[int]) -> dict[int, Kept | None]:
        """Windows by number; None of one that is not there yet. Raises Unanswered."""
        wanted = sorted(set(numbers))
        missing = [one for one in wanted if one not in self._windows]
        if missing:
            given = self._ask({"windows": missing, "files": []})["windows"]
            for number in missing:
                self._windows[number] = self._kept(given.get(str(number)))
        return {one: self._windows[one] for one in wanted}

    def files(self, sha256s: Iterable[str]) -> dict[str, Path | None]:
        """Files by their sha256; None of one that is gone or damaged. Raises Unanswered."""
        wanted = list(dict.fromkeys(sha256s))
        missing = [one for one in wanted if one not in self._files]
        for begin in range(0, len(missing), AT_ONCE):
            some = missing[begin : begin + AT_ONCE]
            given = self._ask({"windows": [], "files": some})["files"]
            for sha256 in some:
                path = given.get(sha256)
                self._files[sha256] = self.folder / path if path else None
        return {one: self._files[one] for one in wanted}

    def _ask(self, wanted: dict[str, Any]) -> dict[str, Any]:
        self._asked += 1
        part = self.folder / ".wants.json"
        part.write_text(json.dumps(wanted), encoding="utf-8")
        part.rename(self.folder / f"wants-{self._asked}.json")
        answer = self.folder / f"given-{self._asked}.json"
        until = time.monotonic() + self.patience
        while not answer.exists():
            if time.monotonic() > until:
                raise Unanswered("The worker did not give what this look needs.")
            time.sleep(GLANCE)
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
        return found

    def _kept(self, said: dict[str, Any] | None) -> Kept | None:
        if said is None:
            return None
        raw = (self.folder / said["path"]).read_bytes()
        return Kept(raw, said["rows"], said["late_rows"], said["judged"])
