"""Where stored files lie: a folder of this machine (or one that several mount), or a bucket of S3.

Both keep whole files only: what is written appears under its name at once and complete, or not at
all. Names are ours, never a person's. Whoever reads and writes files does so through storage.py.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from django.core.files.storage import FileSystemStorage, storages

from distillhub.lib.errors import Unavailable
from distillhub.lib.later import Later

boto = Later("boto3.exceptions")
botocore = Later("botocore.exceptions")
transfer = Later("boto3.s3.transfer")

PIECE = 1 << 20  # bytes held at a time: a file is never whole in memory
PART = 16 << 20  # bytes of a part of an upload to S3
PARTS_AT_ONCE = 4
WAITING = 32  # pieces of 256 KiB that have come before the disk took them
BATCH = 1000  # names that S3 deletes at once
UNFINISHED = ".part-"  # begins the name of a file that is being written
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Damaged(Exception):
    """What storage holds is not what was written: its sha256 differs, or it is gone."""


class Away(Unavailable):
    """Storage takes or gives nothing just now: its disk is full, or nobody answers."""

    code = "storage_away"
    retry_after = 30


class Full(Away):
    code = "disk_full"


@dataclass(frozen=True, slots=True)
class Lying:
    """A stored file, as a listing tells of it."""

    name: str
    bytes: int
    changed_at: float  # seconds since the epoch; when it was written, or asked to stay


class Place(Protocol):
    """What storage.py asks of either. Every method raises Away."""

    def write(self, path: Path, name: str, sha256: str) -> None:
        """Store a local file whole. Raises Damaged when it is not what `sha256` says."""

    def read_into(self, name: str, target: Path) -> None:
        """A copy in a new local file. Raises FileNotFoundError."""

    def local(self, name: str) -> Path | None:
        """Where it lies, if that is a file of this machine."""

    def look(self, name: str) -> Lying | None: ...

    def keep(self, name: str) -> bool:
        """Have a file count as new; False when there is none."""

    def delete(self, names: list[str]) -> None: ...

    def listing(self, under: str) -> Iterator[Lying]: ...

    def drop_unfinished(self, before: float) -> None:
        """Remove what writers left that were killed before this moment."""


def place() -> Place:
    """The one that settings name."""
    backend: Any = storages["default"]
    if isinstance(backend, FileSystemStorage):
        return Folder(Path(backend.location))
    return Bucket(backend)


@dataclass(frozen=True, slots=True)
class Folder:
    root: Path

    def write(self, path: Path, name: str, sha256: str) -> None:
        target = self.root / name
        with path.open("rb") as source, taken_by_disk():
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as out:
                if copy(source, out) != sha256:
                    raise Damaged("A file changed while it was being stored.")
                os.fchmod(out.fileno(), 0o444)
            _sync(target.parent)

    def read_into(self, name: str, target: Path) -> None:
        with (self.root / name).open("rb") as source, target.open("xb") as out:
            shutil.copyfileobj(source, out, PIECE)

    def local(self, name: str) -> Path | None:
        return self.root / name

    def look(self, name: str) -> Lying | None:
        try:
            found = (self.root / name).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return Lying(name, found.st_size, found.st_mtime)

    def keep(self, name: str) -> bool:
        with taken_by_disk():
            try:
                os.utime(self.root / name)
            except (FileNotFoundError, NotADirectoryError):
                return False
        return True

    def delete(self, names: list[str]) -> None:
        for name in names:
            (self.root / name).unlink(missing_ok=True)
        rooms = {(self.root / name).parent for name in names if name.count("/") > 2}
        for room in rooms:  # of one owner, who writes there no more when it is empty
            with contextlib.suppress(OSError):
                room.rmdir()
                room.parent.rmdir()

    def listing(self, under: str) -> Iterator[Lying]:
        for folder, _, names in os.walk(self.root / under):
            for name in names:
                if not name.startswith(UNFINISHED):
                    path = Path(folder) / name
                    found = self.look(path.relative_to(self.root).as_posix())
                    if found is not None:
                        yield found

    def drop_unfinished(self, before: float) -> None:
        for path in self.root.rglob(f"{UNFINISHED}*"):
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()


class Bucket:
    """Through django-storages' connection, without its files: those are whole in memory."""

    def __init__(self, backend: Any) -> None:
        self.bucket = backend.bucket
        self.prefix = f"{backend.location.strip('/')}/" if backend.location else ""

    def write(self, path: Path, name: str, sha256: str) -> None:
        # In parts, each tried again; seen once all are there.
        with self._asked(), path.open("rb"):
            self._object(name).upload_file(
                str(path), Config=_transfer(), ExtraArgs={"Metadata": {"sha256": sha256}}
            )

    def read_into(self, name: str, target: Path) -> None:
        with self._asked():
            self._object(name).download_file(str(target), Config=_transfer())

    def local(self, name: str) -> Path | None:
        return None

    def look(self, name: str) -> Lying | None:
        try:
            with self._asked():
                found = self._object(name)
                found.load()
                return Lying(name, found.content_length, found.last_modified.timestamp())
        except FileNotFoundError:
            return None

    def keep(self, name: str) -> bool:
        found = self.look(name)
        if found is None:
            return False
        if found.changed_at < time.time() - 6 * 3600:  # copied onto itself, which costs something
            with self._asked():
                one = self._object(name)
                source = {"Bucket": self.bucket.name, "Key": one.key}
                one.copy(source, ExtraArgs={"MetadataDirective": "REPLACE"}, Config=_transfer())
        return True

    def delete(self, names: list[str]) -> None:
        for begin in range(0, len(names), BATCH):
            some = [{"Key": self.prefix + name} for name in names[begin : begin + BATCH]]
            with self._asked():
                self.bucket.delete_objects(Delete={"Objects": some, "Quiet": True})

    def listing(self, under: str) -> Iterator[Lying]:
        with self._asked():
            for one in self.bucket.objects.filter(Prefix=self.prefix + under):
                name = one.key.removeprefix(self.prefix)
                yield Lying(name, one.size, one.last_modified.timestamp())

    def drop_unfinished(self, before: float) -> None:
        with self._asked():
            for one in self.bucket.multipart_uploads.all():
                if one.initiated.timestamp() < before and one.object_key.startswith(self.prefix):
                    one.abort()

    def _object(self, name: str) -> Any:
        return self.bucket.Object(self.prefix + name)

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        """boto's errors as ours. Raises FileNotFoundError and Away."""
        try:
            yield
        except botocore.ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in {"404", "NoSuchKey"}:
                raise FileNotFoundError(code) from None
            raise Away(f"The bucket {self.bucket.name} refuses: {code or 'unknown'}.") from error
        except (botocore.BotoCoreError, boto.Boto3Error) as error:
            raise Away(
                f"The bucket {self.bucket.name} does not answer ({type(error).__name__})."
            ) from error


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Any]:
    """Write beside `target`, on the disk before it gets its name: a reader sees the whole file or
    none."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=UNFINISHED)
    try:
        with os.fdopen(handle, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def copy(source: Any, out: Any) -> str:
    """Copy a stream piece by piece; the sha256 of what was copied."""
    seen = hashlib.sha256()
    while piece := source.read(PIECE):
        seen.update(piece)
        out.write(piece)
    return seen.hexdigest()


@contextlib.contextmanager
def taken_by_disk() -> Iterator[None]:
    """Raises Away when the disk takes no more."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise Full("The disk of the storage is full. Free some space.") from error
        raise Away(f"The storage cannot be written to: {error.strerror or error}.") from error


def _transfer() -> Any:
    return transfer.TransferConfig(
        multipart_threshold=PART,
        multipart_chunksize=PART,
        max_concurrency=PARTS_AT_ONCE,
        max_io_queue=WAITING,
    )


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
