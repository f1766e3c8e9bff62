"""A file that people sent, as names and streams: an archive's entries, or the file itself."""

import gzip
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from distillhub.lib import archives, tars
from training.trackers import limits
from training.trackers.found import Unreadable

GZIP = b"\x1f\x8b"


class Tree:
    """Names and sizes of files, each opened when it is read."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes = sizes

    @property
    def names(self) -> list[str]:
        return list(self.sizes)

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        raise KeyError(name)
        yield  # a generator, too

    def head(self, name: str, count: int = 64) -> bytes:
        with self.open(name) as file:
            return file.read(count)

    def small(self, name: str, most: int = limits.SMALL) -> bytes:
        """Raises Unreadable for a file that should hold little and does not."""
        if self.sizes[name] > most:
            raise Unreadable("too_large", f"{name} is larger than {most >> 10:,} KiB.")
        with self.open(name) as file:
            return file.read(most + 1)[:most]

    def copy(self, name: str, target: Path) -> Path:
        with self.open(name) as source, target.open("xb") as out:
            shutil.copyfileobj(source, out, archives.PIECE)
        return target


class OneFile(Tree):
    def __init__(self, path: Path, name: str) -> None:
        super().__init__({name: path.stat().st_size})
        self._path = path

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with self._path.open("rb") as file:
            yield file


class Zip(Tree):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        found = archives.entries(archive, most_files=limits.FILES, most_bytes=limits.UNPACKED)
        self._archive, self._infos = archive, {info.filename: info for info in found}
        super().__init__({info.filename: info.file_size for info in found})

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with self._archive.open(self._infos[name]) as file:
                yield file
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise archives.UnsafeArchive(f"{name} cannot be unpacked: {error}") from None


class Tar(Tree):
    def __init__(self, archive: tars.Tar) -> None:
        self._archive = archive
        self._entries = {one.filename: one for one in archive.entries}
        super().__init__({one.filename: one.file_size for one in archive.entries})

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        with self._archive.open(self._entries[name]) as file:
            yield file


@contextmanager
def opened(path: Path, name: str, scratch: Path) -> Iterator[Tree]:
    """Raises Unreadable for an archive that is none, or not to be trusted."""
    try:
        with path.open("rb") as file:
            is_packed = file.read(2) == GZIP
        if is_packed:
            path, name = _unpacked(path, scratch / "unpacked"), name.removesuffix(".gz")
        with path.open("rb") as file:
            head = file.read(512)
            if tars.is_tar(head):
                with tars.Tar(file, most_files=limits.FILES, most_bytes=limits.UNPACKED) as archive:
                    yield Tar(archive)
                return
        if head.startswith(b"PK"):
            with zipfile.ZipFile(path) as zipped:
                yield Zip(zipped)
            return
        yield OneFile(path, name)
    except archives.UnsafeArchive as unsafe:
        raise Unreadable("unsafe_archive", str(unsafe)) from None
    except zipfile.BadZipFile as error:
        raise Unreadable("unsafe_archive", f"The zip archive is damaged: {error}.") from None


def _unpacked(path: Path, target: Path) -> Path:
    left = limits.UNPACKED
    try:
        with gzip.open(path) as source, target.open("xb") as out:
            while piece := source.read(archives.PIECE):
                left -= len(piece)
                if left < 0:
                    raise Unreadable(
                        "too_large", f"It unpacks to more than {limits.UNPACKED >> 30} GiB."
                    )
                out.write(piece)
    except (OSError, EOFError, zlib.error) as error:
        raise Unreadable("unsafe_archive", f"It cannot be unpacked: {error}.") from None
    return target
