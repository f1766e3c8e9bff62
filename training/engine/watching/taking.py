"""Batches of an inbox become rows: once each, and described.

    taken = take(config, folder, wants)         raw rows with their windows, and what was said later
    parts = keep(taken, rows, config, folder)   privacy, then Parquet below `output/` (keeping.py)

An id that came before is left out, whichever day or batch it came in, and counted as `repeated`.
Labels and the teacher's answers find rows of before by the indexes; what comes before its row waits
for it. What is forgotten is forgotten whole: sent again, it is a new row.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256 as digest_of
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from training.engine.watching import known, parts, sensed, taken
from training.engine.watching.history import History
from training.engine.watching.keeping import keep
from training.engine.watching.parts import LATER, ROWS, TYPES
from training.engine.watching.taken import Files, Taken

__all__ = ["Taken", "keep", "take"]

JSON = dict[str, Any]

PLAIN = ("id", "text", "prediction", "number", "probabilities", "latency_ms", "version", "tokens",
    "log_probability", *LATER,
)  # fmt: skip
MICROSECONDS = 3_600_000_000  # of an hour
MOST_BYTES = 256 << 20  # of batches, unpacked, that a look takes beyond the first
MOST_WINDOWS = 2000  # of hours that new rows fall into, likewise


def take(config: Mapping[str, Any], folder: Path, wants: Files) -> Taken:
    """Read the batches of a look; those that would be too much for it are left to the next."""
    look = _Look(config, folder, wants)
    for batch in config["batches"]:
        if look.is_full:
            break
        look.read(batch)
    return look.taken()


class _Look:
    def __init__(self, config: Mapping[str, Any], folder: Path, wants: Files) -> None:
        self.config, self.folder, self.wants = config, folder, wants
        self.monitor: Mapping[str, Any] = config["monitor"]
        today = datetime.fromtimestamp(config["now"], UTC).date().isoformat()
        self.history = History(config["parts"], today, wants)
        self.rows: dict[str, JSON] = {}  # new ones by id, in the order they came
        self.later: dict[str, JSON] = {}  # what was said of rows that are not new
        self.gone: dict[str, None] = {}  # to be forgotten
        self.done: list[int] = []
        self.refused: list[JSON] = []
        self.repeated = 0
        self.bytes = 0
        self.windows: set[int] = set()

    @property
    def is_full(self) -> bool:
        return self.bytes > MOST_BYTES or len(self.windows) > MOST_WINDOWS

    # -- batches ---------------------------------------------------------------------------------

    def read(self, batch: Mapping[str, Any]) -> None:
        try:
            raw = zlib.decompress((self.folder / batch["path"]).read_bytes())
            lines = json.loads(b"[" + raw.replace(b"\n", b",") + b"]")
        except (OSError, ValueError, zlib.error) as error:
            self.refused.append({"batch": batch["id"], "sentence": f"It cannot be read: {error}"})
            return
        self.bytes += len(raw)
        if batch["kind"] == "inferences":
            self._inferences(lines)
        elif batch["kind"] == "forget":
            self._forget(lines)
        else:
            self._said(lines)
        self.done.append(batch["id"])

    def _inferences(self, lines: list[JSON]) -> None:
        came = self.history.known.are(known.hashes(one["id"] for one in lines))
        if self.monitor["window_hours"]:
            times = np.fromiter((one["time"] for one in lines), dtype=np.int64, count=len(lines))
            self.windows.update(self._windows(times).tolist())
        for line, before in zip(lines, came, strict=True):
            identity = line["id"]
            if identity in self.rows or (before and identity not in self.gone):
                self.repeated += 1
                continue
            # What was said of it earlier in this look counts above what it says itself.
            self.rows[identity] = line | taken.later(line) | self.later.pop(identity, {})

    def _said(self, lines: list[JSON]) -> None:
        for line in lines:
            row = self.rows.get(line["id"])
            if row is None:
                row = self.later.setdefault(line["id"], {})
            row.update(taken.later(line))

    def _forget(self, lines: list[JSON]) -> None:
        for line in lines:
            self.gone[line["id"]] = None
            self.later.pop(line["id"], None)
            self.rows.pop(line["id"], None)

    # -- together --------------------------------------------------------------------------------

    def taken(self) -> Taken:
        for identity, said in self.history.waiting(self.rows).items():
            self.rows[identity].update(
                {name: one for name, one in said.items() if self.rows[identity].get(name) is None}
            )
        said, days = self.history.rows(self.later)
        found = Taken(
            rows=self._table(),
            said=said,
            taken=self.done,
            refused=self.refused,
            repeated=self.repeated,
            unknown=len(self.later) - len(days),
        )
        for identity, one in self.later.items():
            place = {
                "id": identity,
                "day": days.get(identity, self.history.today),
                "waits": identity not in days,
            }
            found.later.append(place | one)
        self._rewrite(found)
        return found

    def _rewrite(self, found: Taken) -> None:
        """Parts without what is forgotten, and small ones that become one."""
        for some, rest in self.history.without(self.gone):
            found.forgotten += [one.sha256 for one in some]
            found.rewritten.append((some[0], rest))
            found.removed += (some[0].rows - len(rest)) * (some[0].kind == ROWS)
        for some, table in self.history.joined(found.forgotten):
            found.forgotten += [one.sha256 for one in some]
            found.rewritten.append((some[0], table))
        found.forgotten += self.history.indexes_of(found.forgotten)

    def _table(self) -> pa.Table:
        lines = list(self.rows.values())
        columns: JSON = {name: [one.get(name) for one in lines] for name in PLAIN}
        columns["cells"] = [taken.spelt(one.get("cells")) for one in lines]
        columns["tags"] = [taken.spelt(one.get("tags")) for one in lines]
        columns["vector"] = [taken.unit(one.get("vector")) for one in lines]
        columns["blob"], columns["content"] = self._contents(lines)
        times = np.fromiter((one["time"] for one in lines), dtype=np.int64, count=len(lines))
        made = {name: pa.array(some, type=TYPES[name]) for name, some in columns.items()}
        made["time"] = pa.array(times).cast(parts.TIME)
        made["hash"] = pa.array(known.hashes(self.rows))
        made["window"] = pa.array(self._windows(times))
        table = pa.table({name: made[name] for name in TYPES if name in made})
        return sensed.sensed(table, self.config, self.folder)

    def _windows(self, times: NDArray[np.int64]) -> NDArray[np.int64]:
        hours = self.monitor["window_hours"]
        if hours:
            return times // np.int64(round(hours * MICROSECONDS))
        order: NDArray[np.int64] = int(self.monitor["rows"]) + np.arange(len(times), dtype=np.int64)
        return order // np.int64(self.monitor["window_rows"])

    def _contents(self, lines: list[JSON]) -> tuple[list[str | None], list[bytes | None]]:
        """Pictures and sounds: their names and bytes."""
        contents = [base64.b64decode(one["base64"]) if "base64" in one else None for one in lines]
        names: list[str | None] = [
            one.get("sha256") if content is None else digest_of(content).hexdigest()
            for one, content in zip(lines, contents, strict=True)
        ]
        here = {
            name: content for name, content in zip(names, contents, strict=True) if name and content
        }
        missing = {name for name in names if name} - set(here)
        if missing:
            found = self.wants.files(sorted(self.history.own(missing)))
            here |= {name: path.read_bytes() for name, path in found.items() if path}
        kept = [name if name in here else None for name in names]
        return kept, [here[name] if name else None for name in kept]
