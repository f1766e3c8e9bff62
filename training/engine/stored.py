"""The folder of stored teacher answers as its keeper sees it: what is there, what is used, what may
go. Without torch, so that whoever keeps the disk in order can do so.

An entry `STORE/ab/abcd…/` stands beside three small files of the same name: `.lock` is held while
it is made or looked for, `.use` is shared by all who read it, and `.used.json` counts them. An
entry is freed only by who holds the first two alone: the kernel gives back the locks of a dead
process.
"""

import contextlib
import fcntl
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JSON = dict[str, Any]
LOCK, USE, USED = ".lock", ".use", ".used.json"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a teacher said of a split: logits, hidden states, a top k, texts, or one kind of its
    layers."""

    key: str
    folder: Path
    kind: str
    split: str  # and the view of it, where rows are augmented: "train, view 1"
    fingerprint: str  # of the dataset
    teacher: str  # sha256 of its folder's content
    teacher_name: str  # as the job that asked knew it; "" of old entries
    rows: int
    bytes: int
    covered_mass: float  # probability that is stored word by word; 1 where all of it is
    made_at: float
    reused: int  # times it was found instead of asked for
    last_used: float


# -- for the engine -------------------------------------------------------------------------------


class Hold:
    """Keeps an entry from being freed, as long as this object or its process lives."""

    def __init__(self, folder: Path) -> None:
        self._file = os.open(folder.with_suffix(USE), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def __del__(self) -> None:
        os.close(self._file)


def note(folder: Path, *, reused: bool) -> None:
    """Count one use. Counting is worth no failure: a full disk is told where it matters."""
    before = _read(folder.with_suffix(USED))
    said = {"reused": int(before.get("reused", 0)) + int(reused), "last_used": time.time()}
    part = folder.with_suffix(f".{os.getpid()}.used.part")
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(said))
        part.replace(folder.with_suffix(USED))


# -- for the keeper -------------------------------------------------------------------------------


def entries(store: Path) -> list[Entry]:
    """All whole entries, the one used longest ago first."""
    found = []
    for manifest in store.glob("??/*/manifest.json"):
        folder = manifest.parent
        if folder.name.startswith("."):
            continue
        said = _read(manifest)
        if "kind" not in said:
            continue
        used = _read(folder.with_suffix(USED))
        made_at = float(said.get("made_at", 0.0))
        found.append(
            Entry(
                key=folder.name,
                folder=folder,
                kind=str(said["kind"]),
                split=str(said.get("split", "")),
                fingerprint=str(said.get("fingerprint", "")),
                teacher=str(said.get("teacher", "")),
                teacher_name=str(said.get("teacher_name", "")),
                rows=int(said.get("rows", 0)),
                bytes=_bytes(folder),
                covered_mass=float(said.get("covered_mass", 1.0)),
                made_at=made_at,
                reused=int(used.get("reused", 0)),
                last_used=float(used.get("last_used", made_at)),
            )
        )
    return sorted(found, key=lambda one: (one.last_used, one.key))


def free(store: Path, key: str) -> bool:
    """Remove an entry; False when somebody makes or reads it, and it stays. Removing what is not
    there is no fault."""
    folder = store / key[:2] / key
    if not folder.is_dir():
        return True
    with _alone(folder) as alone:
        if alone:
            _remove(folder)
    return alone


def collect(
    store: Path, *, most_bytes: int, unused_for: float, now: float | None = None
) -> list[Entry]:
    """Free what nobody used for `unused_for` seconds, then what was used longest ago until all take
    at most `most_bytes`; 0 for no such limit. Entries in use stay. Parts that no job goes on with
    are removed after the same time. Returns what was freed."""
    now = time.time() if now is None else now
    there = entries(store)
    left = sum(one.bytes for one in there)
    freed = []
    for one in there:
        old = bool(unused_for) and now - one.last_used > unused_for
        large = bool(most_bytes) and left > most_bytes
        if (old or large) and free(store, one.key):
            left -= one.bytes
            freed.append(one)
    if unused_for:
        _sweep(store, now - unused_for)
    return freed


def _sweep(store: Path, before: float) -> None:
    """Remove parts and the small files beside entries that are gone, untouched since."""
    for part in store.glob("??/.*.part"):
        folder = part.with_name(part.name.removeprefix(".").split(".")[0])
        with contextlib.suppress(OSError), _alone(folder) as alone:
            if alone and _touched(part) < before:
                shutil.rmtree(part, ignore_errors=True)


def _touched(folder: Path) -> float:
    return max((one.stat().st_mtime for one in folder.iterdir()), default=folder.stat().st_mtime)


def _remove(folder: Path) -> None:
    """At once for who looks for it: renamed before its files go."""
    gone = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.part")
    folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)
    folder.with_suffix(USED).unlink(missing_ok=True)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[bool]:
    """Whether nobody makes or reads the entry, as long as this lasts."""
    files: Sequence[Path] = [folder.with_suffix(LOCK), folder.with_suffix(USE)]
    with contextlib.ExitStack() as held:
        try:
            for path in files:
                file = held.enter_context(path.open("a"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def _bytes(folder: Path) -> int:
    total = 0
    for one in folder.iterdir():
        with contextlib.suppress(OSError):
            total += one.stat().st_size
    return total


def _read(path: Path) -> JSON:
    try:
        said = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
