"""A backup: files under their names, and last a manifest with the sha256 of each. A folder, or one
tar file where the target is called so.

    manifest.json                   {"format", "made_at", "version", "database", "files": [...]}
    database.sqlite3, or .dump      a consistent copy (pg_dump's custom format)
    home/secret_key, home/jobs/...  of the home folder
    files/blobs/ab/abcdef...        stored files, each named by its content

Nothing is under the target's name before it is whole.
"""

import contextlib
import hashlib
import json
import os
import shutil
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any

from distillhub.lib.errors import DomainError
from distillhub.lib.places import PIECE, copy

FORMAT = 1
MANIFEST = "manifest.json"
#: The first part of every other name.
ROOTS = frozenset({"database.sqlite3", "database.dump", "home", "files"})


class NotABackup(DomainError):
    code = "not_a_backup"


class Exists(DomainError):
    code, status = "exists", 409


class Writer(ABC):
    """Adds one file after the other; `close` makes it a backup."""

    def __init__(self) -> None:
        self.files: list[dict[str, Any]] = []

    def add(self, name: str, path: Path) -> str:
        """A copy of a file that may still grow, as long as it is now; its sha256. Raises
        FileNotFoundError."""
        with path.open("rb") as source:
            length = os.fstat(source.fileno()).st_size
            part = _Part(source, length)
            self._write(name, part)
        found = {"name": name, "bytes": length, "sha256": part.seen.hexdigest()}
        self.files.append(found)
        return str(found["sha256"])

    def close(self, facts: Mapping[str, Any]) -> None:
        manifest = {"format": FORMAT, **facts, "files": self.files}
        self._finish(json.dumps(manifest, indent=1).encode())

    @abstractmethod
    def _write(self, name: str, source: "_Part") -> None: ...

    @abstractmethod
    def _finish(self, manifest: bytes) -> None: ...

    @abstractmethod
    def abandon(self) -> None: ...


class _Part:
    """The first `length` bytes of a file, counted into a sha256. What is missing of a file that was
    cut off meanwhile is noughts."""

    def __init__(self, source: IO[bytes], length: int) -> None:
        self.source, self.length, self.left = source, length, length
        self.seen = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        size = self.left if size < 0 else min(size, self.left)
        piece = self.source.read(size)
        piece += bytes(size - len(piece))
        self.left -= len(piece)
        self.seen.update(piece)
        return piece


class FolderWriter(Writer):
    def __init__(self, target: Path) -> None:
        super().__init__()
        self.target = target
        self.part = target.with_name(f".{target.name}.part-{os.getpid()}")
        self.part.mkdir(mode=0o700)

    def _write(self, name: str, source: _Part) -> None:
        path = self.part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            shutil.copyfileobj(source, out, PIECE)
            out.flush()
            os.fsync(out.fileno())

    def _finish(self, manifest: bytes) -> None:
        (self.part / MANIFEST).write_bytes(manifest)
        self.part.rename(self.target)

    def abandon(self) -> None:
        shutil.rmtree(self.part, ignore_errors=True)


class TarWriter(Writer):
    def __init__(self, target: Path) -> None:
        super().__init__()
        self.target = target
        self.part = target.with_name(f".{target.name}.part-{os.getpid()}")
        handle = os.open(self.part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self.file = os.fdopen(handle, "w+b")
        self.tar = tarfile.open(fileobj=self.file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115

    def _write(self, name: str, source: _Part) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = source.length, 0o600
        self.tar.addfile(entry, source)

    def _finish(self, manifest: bytes) -> None:
        path = self.part.with_name(f"{self.part.name}.{MANIFEST}")
        path.write_bytes(manifest)
        try:
            with path.open("rb") as source:
                self._write(MANIFEST, _Part(source, len(manifest)))
        finally:
            path.unlink()
        self.tar.close()
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()
        self.part.rename(self.target)

    def abandon(self) -> None:
        self.file.close()
        self.part.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(target: Path) -> Iterator[Writer]:
    """A tar file for a name that ends so, else a folder. Raises Exists."""
    if target.exists():
        raise Exists(f"{target} is there already; give a name that is not.")
    target.parent.mkdir(parents=True, exist_ok=True)
    writer = TarWriter(target) if target.suffix == ".tar" else FolderWriter(target)
    try:
        yield writer
    except BaseException:
        writer.abandon()
        raise


def unpack(source: Path, into: Path) -> dict[str, Any]:
    """Every file of a backup below the folder `into`, compared with its sha256; the manifest.
    Raises NotABackup with what is wrong, before anything is taken for good."""
    found: dict[str, tuple[int, str]] = {}
    manifest: Any = None
    try:
        for name, stream in _entries(source):
            if name == MANIFEST:
                manifest = json.loads(stream.read())
                continue
            target = into / _safe(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as out:
                sha256 = copy(stream, out)
                found[name] = (out.tell(), sha256)
    except (tarfile.TarError, OSError, ValueError) as error:
        raise NotABackup(f"{source} cannot be read as a backup: {error}") from None
    if not isinstance(manifest, dict):
        raise NotABackup(f"{source} holds no {MANIFEST}: it is no backup, or it is not whole.")
    if manifest.get("format") != FORMAT:
        raise NotABackup(
            f"{source} is of format {manifest.get('format')!r}; this version reads {FORMAT}."
        )
    said = {one["name"]: (one["bytes"], one["sha256"]) for one in manifest["files"]}
    if missing := sorted(said.keys() - found.keys()):
        raise NotABackup(f"{source} lacks {missing[0]} ({len(missing)} files in all).")
    if more := sorted(found.keys() - said.keys()):
        raise NotABackup(f"{source} holds {more[0]}, which its {MANIFEST} does not name.")
    if changed := sorted(name for name, facts in said.items() if found[name] != facts):
        raise NotABackup(f"{source}: {changed[0]} is damaged ({len(changed)} files in all).")
    return manifest


def _entries(source: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.is_symlink():
                raise ValueError(f"{path} is a link")
            if path.is_file():
                with path.open("rb") as file:
                    yield path.relative_to(source).as_posix(), file
        return
    with tarfile.open(source, "r:") as tar:
        for entry in tar:
            stream = tar.extractfile(entry) if entry.isreg() else None
            if stream is None:
                raise ValueError(f"{entry.name} is no file")
            yield entry.name, stream


def _safe(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts or path.parts[0] not in ROOTS:
        raise ValueError(f"{name} has no place in a backup")
    return path
