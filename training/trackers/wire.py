"""Messages as protocol buffers write them, read without their classes: numbers of fields and what
stands there (https://protobuf.dev/programming-guides/encoding/).

Two formats are read so: TensorBoard's events and the records of a W&B run (docs/decisions/0039).
"""

import struct
from collections.abc import Iterator

#: A varint is an int, a fixed 32 or 64 bits are bytes, and so is what has a length.
Value = int | bytes

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5


class Torn(ValueError):
    """These bytes are no message."""


def fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Every field in order, with its number. Raises Torn."""
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == LENGTH:
            size, at = _varint(message, at)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise Torn(f"A field of kind {kind}, which is not known.")
        if at + size > end:
            raise Torn("A field goes beyond the end of its message.")
        yield number, message[at : at + size]
        at += size


def one(message: bytes) -> dict[int, Value]:
    """The last value of every field, as protocol buffers take it."""
    return dict(fields(message))


def text(value: Value | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""


def inner(value: Value | None) -> bytes:
    return value if isinstance(value, bytes) else b""


def integer(value: Value | None) -> int:
    """A varint as int64."""
    if not isinstance(value, int):
        return 0
    return value - (1 << 64) if value >= 1 << 63 else value


def double(value: Value | None) -> float:
    return float(struct.unpack("<d", inner(value))[0]) if len(inner(value)) == 8 else 0.0


def single(value: Value | None) -> float:
    return float(struct.unpack("<f", inner(value))[0]) if len(inner(value)) == 4 else 0.0


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise Torn("A number is cut off.")
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
        shift += 7
