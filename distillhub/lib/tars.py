"""Tar archives from strangers, as archives.py reads zips: nothing is unpacked by name, links and
devices are no files, and sizes and names are looked at before a byte of a file is read."""

import tarfile
from dataclasses import dataclass
from typing import IO

from distillhub.lib.archives import UnsafeArchive, refuse_name

MAGIC = slice(257, 262)  # `ustar`, in the first header (POSIX.1-2001, pax)


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file of the archive; as zipfile's ZipInfo, by the names of its attributes."""

    filename: str
    file_size: int
    member: tarfile.TarInfo


class Tar:
    """Opened for reading; closing `file` is the caller's. Its files are best read in their order:
    of a compressed one, going back means to unpack it anew."""

    def __init__(self, file: IO[bytes], *, most_files: int, most_bytes: int) -> None:
        """Raises UnsafeArchive."""
        self.entries: list[Entry] = []
        seen: set[str] = set()
        total = 0
        try:
            file.seek(0)
            self._tar = tarfile.open(fileobj=file, mode="r:")  # noqa: SIM115 (closed by close)
            for count, member in enumerate(self._tar, 1):
                if count > 2 * most_files:
                    raise UnsafeArchive(f"The archive holds more than {most_files} files.")
                if not member.isreg():
                    if member.islnk() or member.issym() or member.isdev():
                        raise UnsafeArchive(f"{member.name[:100]} is a link or device, not a file.")
                    continue
                name = member.name.removeprefix("./")
                refuse_name(name)
                if member.issparse():
                    raise UnsafeArchive(f"{name} is a sparse file, which is not supported.")
                if name.casefold() in seen:
                    raise UnsafeArchive(f"{name} is in the archive twice.")
                seen.add(name.casefold())
                total += member.size
                if total > most_bytes:
                    raise UnsafeArchive(
                        f"The archive would unpack to more than {most_bytes >> 20} MiB."
                    )
                self.entries.append(Entry(name, member.size, member))
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise UnsafeArchive(f"The tar archive is damaged: {error}.") from None
        if len(self.entries) > most_files:
            raise UnsafeArchive(f"The archive holds more than {most_files} files.")

    def namelist(self) -> list[str]:
        return [one.filename for one in self.entries]

    def open(self, entry: Entry) -> IO[bytes]:
        file = self._tar.extractfile(entry.member)
        assert file is not None  # only regular files are entries
        return file

    def close(self) -> None:
        self._tar.close()

    def __enter__(self) -> "Tar":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def is_tar(head: bytes) -> bool:
    return head[MAGIC] == b"ustar"
