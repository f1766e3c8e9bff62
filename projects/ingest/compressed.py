"""Uploads compressed with gzip, read as what is inside: `rows.csv.gz` as `rows.csv`.

A stream that unpacks as it is read, so that no memory and no disk are taken by what is inside. What
a few bytes may become is bounded: a file of zeros shrinks a thousandfold.
"""

import gzip
import io
import zlib
from typing import IO, Any

from projects.ingest.formats import BadFile

MAGIC = b"\x1f\x8b\x08"
ENDINGS = (".gz", ".gzip")
MOST_UNPACKED = 20 << 30  # bytes, as of archives
MOST_RATIO = 200  # times what was read, once there are
FREELY = 64 << 20  # bytes, up to which nothing is asked


def opened(file: IO[bytes]) -> IO[bytes]:
    """The file, or what is inside of it; at its beginning. Closing `file` is the caller's."""
    file.seek(0)
    head = file.read(len(MAGIC))
    file.seek(0)
    return io.BufferedReader(Unpacked(file), 1 << 18) if head == MAGIC else file


def name_inside(file: IO[bytes], name: str) -> str:
    """The name of what is inside, of a file that is `opened`."""
    if not is_unpacked(file):
        return name
    ending = next((one for one in ENDINGS if name.lower().endswith(one)), "")
    return name[: len(name) - len(ending)] or name


def is_unpacked(file: IO[bytes]) -> bool:
    return isinstance(getattr(file, "raw", None), Unpacked)


def size(file: IO[bytes], seen: int) -> int:
    """Bytes of the whole file, of a compressed one about, after `seen` bytes of it were read."""
    raw = getattr(file, "raw", None)
    if isinstance(raw, Unpacked):
        return raw.estimated(seen)
    return file.seek(0, 2)


def packed_position(file: IO[bytes]) -> int:
    """How many bytes of the upload itself have been read."""
    raw = getattr(file, "raw", None)
    return raw.file.tell() if isinstance(raw, Unpacked) else file.tell()


class Unpacked(io.RawIOBase):
    """What is inside of a gzip file. Reading raises BadFile where it is damaged, cut off, or grows
    beyond all measure."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.packed = file.seek(0, 2)
        self.end: int | None = None  # once it was reached
        self._rewind()

    def _rewind(self) -> None:
        self.file.seek(0)
        self._stream = gzip.GzipFile(fileobj=self.file, mode="rb")
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        try:
            got = self._stream.readinto(buffer)
        except EOFError:
            raise BadFile(
                f"The gzip file is cut off after {self._at:,} bytes of what is inside. Was the "
                "upload complete?"
            ) from None
        except (gzip.BadGzipFile, zlib.error):
            raise BadFile(
                f"The gzip file is damaged: it cannot be unpacked beyond {self._at:,} bytes of "
                "what is inside."
            ) from None
        self._at += got
        if self._at > min(MOST_UNPACKED, max(FREELY, MOST_RATIO * self.packed)):
            raise BadFile(
                f"The gzip file unpacks to more than {self._at >> 20:,} MiB, which is more than "
                "is read. Unpack it, and upload what is inside."
            )
        if not got and len(buffer):
            self.end = self._at
        return got

    def seek(self, offset: int, whence: int = 0) -> int:
        """Backwards it begins anew; to the end it reads all, once."""
        if whence == io.SEEK_END:
            target = self._measured() + offset
        else:
            target = offset + (self._at if whence == io.SEEK_CUR else 0)
        if target < self._at:
            self._rewind()
        spare = bytearray(1 << 18)
        while self._at < target:
            if not self.readinto(memoryview(spare)[: min(len(spare), target - self._at)]):
                break
        return self._at

    def _measured(self) -> int:
        spare = bytearray(1 << 18)
        while self.end is None:
            self.readinto(spare)
        return self.end

    def estimated(self, seen: int) -> int:
        if self.end is not None:
            return self.end
        read = max(1, self.file.tell())
        return max(seen, round(self.packed * max(seen, self._at) / read))
