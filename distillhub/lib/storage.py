"""Immutable files, named by the sha256 of their content.

A file is written once under `blobs/ab/abcdef…` through Django's storage layer (a local folder, or
S3 by settings), so two equal files take the space of one, names never come from users, and every
read can be verified.
"""

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage

PIECE = 1 << 20  # bytes read at a time: a file is never whole in memory


class Damaged(Exception):
    """What storage holds is not what was written: its sha256 differs, or it is gone."""


@dataclass(frozen=True, slots=True)
class Blob:
    sha256: str
    bytes: int


def key(sha256: str) -> str:
    return f"blobs/{sha256[:2]}/{sha256}"


def digest(path: Path) -> str:
    """sha256 of a local file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put(path: Path) -> Blob:
    """Store a local file; storing the same content again changes nothing."""
    blob = Blob(sha256=digest(path), bytes=path.stat().st_size)
    name = key(blob.sha256)
    if not (default_storage.exists(name) and default_storage.size(name) == blob.bytes):
        with path.open("rb") as file:
            if default_storage.exists(name):  # a torn write of an earlier crash
                default_storage.delete(name)
            saved = default_storage.save(name, File(file))
        if saved != name:  # another process stored the same content at the same moment
            default_storage.delete(saved)
    return blob


def open_blob(sha256: str) -> IO[bytes]:
    """A readable binary stream; raises Damaged when the file is gone."""
    try:
        return default_storage.open(key(sha256), "rb")
    except FileNotFoundError:
        raise Damaged(f"The stored file {sha256[:12]} is missing.") from None


def local_copy(sha256: str, target: Path) -> Path:
    """Place the blob at `target`, verified by its sha256: a hard link where storage is a local
    folder on the same disk, a streamed copy otherwise. Raises Damaged."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(NotImplementedError, OSError):
        os.link(default_storage.path(key(sha256)), target)
    if not target.exists():
        with open_blob(sha256) as source, _replacing(target) as out:
            shutil.copyfileobj(source, out, PIECE)
    if digest(target) != sha256:
        target.unlink()
        raise Damaged(f"The stored file {sha256[:12]} has changed since it was written.")
    return target


def working_folder(name: str) -> Path:
    """A folder on this machine's own disk, for files on their way (uploads, jobs)."""
    folder = Path(settings.DISTILLHUB_HOME) / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def _replacing(target: Path) -> Iterator[IO[bytes]]:
    """Write beside `target` and rename: a reader sees the whole file or none."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
