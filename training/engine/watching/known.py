"""Which ids came before, and where their rows stand: one small file beside each Parquet part.

    b"DHINDEX1", rows uint64, sha256 of the part (32 bytes), then three arrays of that many:
    hashes uint64 (sorted), windows int64, places uint32 (rows within the part)

20 bytes a row, and mapped into memory: what a look asks touches a few pages of each file, however
many rows it holds. Two different ids share a hash once in 2^64 pairs; where rows are read by it,
their ids are compared.
"""

import hashlib
import mmap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

MAGIC = b"DHINDEX1"
HEAD = len(MAGIC) + 8 + 32

Hashes = NDArray[np.uint64]
Numbers = NDArray[np.int64]


def hashed(identity: str) -> int:
    """Of an id, the same on every machine: 64 bits."""
    raw = identity.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(raw, digest_size=8).digest(), "little")


def hashes(ids: Iterable[str]) -> Hashes:
    return np.fromiter(map(hashed, ids), dtype=np.uint64)


def write(path: Path, sha256: str, of: Hashes, windows: Numbers) -> None:
    """The index of a part with this sha256, whose rows have these hashes and windows."""
    order = np.argsort(of, kind="stable")
    with path.open("wb") as file:
        file.write(MAGIC + len(of).to_bytes(8, "little") + bytes.fromhex(sha256))
        file.write(np.ascontiguousarray(of[order], dtype="<u8").tobytes())
        file.write(np.ascontiguousarray(windows[order], dtype="<i8").tobytes())
        file.write(order.astype("<u4").tobytes())


@dataclass(frozen=True, slots=True)
class Index:
    """Of one part."""

    own: str  # its own sha256
    sha256: str  # the part's
    day: str
    hashes: Hashes
    windows: Numbers
    places: NDArray[np.uint32]

    @classmethod
    def read(cls, path: Path, own: str, day: str) -> Self:
        """Raises ValueError for a file that is none."""
        with path.open("rb") as file:
            raw = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        rows = int.from_bytes(raw[8:16], "little")
        if raw[:8] != MAGIC or len(raw) != HEAD + 20 * rows:
            raise ValueError(f"{path.name} is no index of a part.")
        return cls(
            own=own,
            sha256=raw[16:HEAD].hex(),
            day=day,
            hashes=np.frombuffer(raw, "<u8", rows, HEAD),
            windows=np.frombuffer(raw, "<i8", rows, HEAD + 8 * rows),
            places=np.frombuffer(raw, "<u4", rows, HEAD + 16 * rows),
        )

    def among(self, wanted: Hashes) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(places in `wanted`, places in this index) of those that are in both."""
        if not len(self.hashes) or not len(wanted):
            empty = np.empty(0, dtype=np.intp)
            return empty, empty
        at = np.searchsorted(self.hashes, wanted)
        at = np.minimum(at, len(self.hashes) - 1)
        found = np.flatnonzero(self.hashes[at] == wanted)
        return found, at[found]


@dataclass(frozen=True, slots=True)
class Found:
    """Where the row of an id stands."""

    sha256: str  # of its part
    day: str
    place: int
    window: int


class Known:
    """All that came before."""

    def __init__(self, indexes: Sequence[Index]) -> None:
        self.indexes = indexes

    def are(self, wanted: Hashes) -> NDArray[np.bool_]:
        """Of each hash whether a row of it is here."""
        there = np.zeros(len(wanted), dtype=bool)
        for index in self.indexes:
            there[index.among(wanted)[0]] = True
        return there

    def find(self, wanted: Hashes) -> dict[int, Found]:
        """By hash; what is not here is left out."""
        found: dict[int, Found] = {}
        for index in self.indexes:
            for mine, at in zip(*index.among(wanted), strict=True):
                found[int(wanted[mine])] = Found(
                    index.sha256, index.day, int(index.places[at]), int(index.windows[at])
                )
        return found
