"""Immutable files, named by the sha256 of their content.

A file is written once under `blobs/ab/abcdef…` through Django's storage layer (a local folder, or
S3 by settings), so two equal files take the space of one, names never come from users, and every
read is verified: what is opened or copied is compared with its name first, piece by piece.

A `room` keeps files of one owner apart (`checkpoints/12/3/abcdef…`): they can be freed together at
once. What lies in `blobs` may be named by any row, so it goes only after a day that no row named it
(sweeping.py).
"""

import contextlib
import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path
from typing import IO
from uuid import uuid4

from django.conf import settings

from distillhub.lib.places import Away, Damaged, Lying, place

__all__ = [
    "BLOBS", "Away", "Blob", "Damaged", "Lying", "delete", "digest", "empty", "key", "lend",
    "listing", "local_copy", "open_blob", "put", "working_folder",
]  # fmt: skip

BLOBS = "blobs"
SETTLED = 2.0  # seconds: a file that changed later than this may change again unnoticed
REMEMBERED = 4096  # files known to be whole

_whole: "OrderedDict[tuple[str, int, int, int, int], None]" = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Blob:
    sha256: str
    bytes: int


def key(sha256: str, room: str = BLOBS) -> str:
    return f"{BLOBS}/{sha256[:2]}/{sha256}" if room == BLOBS else f"{room}/{sha256}"


def digest(path: Path) -> str:
    """sha256 of a local file, in hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def put(path: Path, room: str = BLOBS) -> Blob:
    """Store a local file; storing the same content again changes nothing, but mends what is torn or
    damaged where that can be seen. Raises Away."""
    blob = Blob(sha256=digest(path), bytes=path.stat().st_size)
    where, name = place(), key(blob.sha256, room)
    # Asked to stay before it is looked at, so that what is swept meanwhile is missed and written.
    if where.keep(name) and _is_whole(name, blob) and where.look(name) is not None:
        return blob
    where.write(path, name, blob.sha256)
    return blob


def open_blob(sha256: str) -> IO[bytes]:
    """A readable binary stream of a verified file. Raises Damaged, also when it is gone, and
    Away."""
    lying = place().local(key(sha256))
    if lying is not None:
        return _verified(lying, sha256)
    try:
        return _verified(_cached(sha256), sha256)
    except Damaged:  # the copy here; fetched again it is whole, or storage itself is damaged
        (_cache() / sha256).unlink(missing_ok=True)
        return _verified(_cached(sha256), sha256)


def local_copy(sha256: str, target: Path, room: str = BLOBS) -> Path:
    """Place the file at `target`, verified by its sha256: a hard link where it lies on the same
    disk, a streamed copy otherwise. Raises Damaged and Away."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        where, name = place(), key(sha256, room)
        lying = where.local(name)
        if lying is None and room == BLOBS:
            lying = _cached(sha256)
        if lying is not None:
            with contextlib.suppress(OSError):
                os.link(lying, target)
        if not target.exists():
            _fetch(name, target, sha256)
    if digest(target) != sha256:
        target.unlink()
        (_cache() / sha256).unlink(missing_ok=True)
        raise _changed(sha256)
    return target


def lend(sha256: str, target: Path) -> Path:
    """Place the file at `target` to be read: like `local_copy`, but what this process has compared
    with its name since it changed is not read again. Raises Damaged and Away."""
    with open_blob(sha256) as stream:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(stream.name, target)
        except FileExistsError:
            pass
        except OSError:
            with target.open("xb") as copy:
                shutil.copyfileobj(stream, copy)
    return target


def delete(sha256s: Iterable[str], room: str = BLOBS) -> None:
    """Forget these files. Raises Away."""
    place().delete([key(sha256, room) for sha256 in sha256s])


def empty(room: str) -> None:
    """Forget all that is kept in a room, and in the rooms inside it. Raises Away."""
    where = place()
    where.delete([one.name for one in where.listing(f"{room}/")])


def listing(room: str = BLOBS) -> Iterator[Lying]:
    """What is kept in a room, and in the rooms inside it. Raises Away."""
    return place().listing(f"{room}/")


def working_folder(name: str) -> Path:
    """A folder on this machine's own disk, for files on their way (uploads, jobs)."""
    folder = Path(settings.DISTILLHUB_HOME) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def trim_cache() -> None:
    """Keep what this machine holds of a bucket within DISTILLHUB_CACHE_MIB: what was used longest
    ago goes first. A reader keeps what it has open."""
    most = settings.DISTILLHUB_CACHE_MIB << 20
    there = []
    for path in _cache().iterdir():
        with contextlib.suppress(FileNotFoundError):
            found = path.stat()
            there.append((found.st_atime, found.st_size, path))
    over = sum(size for _, size, _ in there) - most
    for _, size, path in sorted(there)[:-1]:
        if not most or over <= 0:
            return
        path.unlink(missing_ok=True)
        over -= size


def _is_whole(name: str, blob: Blob) -> bool:
    """Whether what is stored already is what is to be stored. A bucket is believed in its size: it
    never holds half a file."""
    where = place()
    found, lying = where.look(name), where.local(name)
    if found is None or found.bytes != blob.bytes:
        return False
    if lying is None:
        return True
    with contextlib.suppress(FileNotFoundError):
        return digest(lying) == blob.sha256
    return False


def _cache() -> Path:
    return working_folder("cache")


def _cached(sha256: str) -> Path:
    """This machine's copy of a file of a bucket. Raises Damaged and Away."""
    path = _cache() / sha256
    try:
        os.utime(path, (time.time(), path.stat().st_mtime))  # used now, changed when it was
    except FileNotFoundError:
        _fetch(key(sha256), path, sha256)
        trim_cache()
    return path


def _fetch(name: str, target: Path, sha256: str) -> None:
    """A verified copy, whole or none. Raises Damaged and Away."""
    part = target.with_name(f".part-{uuid4().hex}")
    try:
        place().read_into(name, part)
        if digest(part) != sha256:
            raise _changed(sha256)
        part.replace(target)
    except FileNotFoundError:
        raise _missing(sha256) from None
    finally:
        part.unlink(missing_ok=True)


def _verified(path: Path, sha256: str) -> IO[bytes]:
    """Opened, once its content was compared with its name since it changed last. Raises Damaged."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise _missing(sha256) from None
    try:
        found = os.fstat(stream.fileno())
        state = (sha256, found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        with _lock:
            known = state in _whole
        if not known:
            if file_digest(stream, "sha256").hexdigest() != sha256:
                raise _changed(sha256)
            stream.seek(0)
            if found.st_mtime < time.time() - SETTLED:
                with _lock:
                    _whole[state] = None
                    while len(_whole) > REMEMBERED:
                        _whole.popitem(last=False)
    except BaseException:
        stream.close()
        raise
    return stream


def _missing(sha256: str) -> Damaged:
    return Damaged(f"The stored file {sha256[:12]} is missing.")


def _changed(sha256: str) -> Damaged:
    return Damaged(f"The stored file {sha256[:12]} has changed since it was written.")
