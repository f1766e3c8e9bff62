"""Arrays and sketches as text and bytes, the same on every machine."""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

JSON = dict[str, Any]


def pack(array: NDArray[Any]) -> str:
    """The array as text: little-endian, compressed, base64. Its shape is not kept."""
    raw = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()
    return base64.b64encode(zlib.compress(raw, 6)).decode("ascii")


def unpack(text: str, kind: str) -> NDArray[Any]:
    """What `pack` packed; `kind` is its type, as in `int64`."""
    dtype = np.dtype(kind)
    raw = zlib.decompress(base64.b64decode(text))
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)


def fingerprint(said: Mapping[str, Any]) -> str:
    """Twelve letters that stand for plain JSON."""
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8")).hexdigest()[:12]


def place(name: str) -> int:
    """Where a name stands in an order by chance that is the same everywhere."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8"), digest_size=8).digest(), "big")


def first(names: Iterable[str], most: int) -> list[str]:
    """The `most` names that come first by chance: of a union they are among those of its parts, so
    that a choice made in parts is the choice made of the whole (bottom-k sketch: Cohen, Kaplan,
    Summarizing data using bottom-k sketches, PODC 2007)."""
    return sorted(set(names), key=lambda name: (place(name), name))[:most]
