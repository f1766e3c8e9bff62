"""A zip's table of contents, counted before Python makes an object of every entry in it: a
million of them, in an upload of 50 MB, would take a gigabyte."""

import struct
from typing import IO

END = b"PK\x05\x06"
END64 = b"PK\x06\x06"
LOCATOR64 = b"PK\x06\x07"
MOST_BYTES = 128 << 20  # of the table itself


class Unreadable(Exception):
    """The file has no table of contents, or one of unbearable size."""


def refuse_more_than(most: int, file: IO[bytes]) -> None:
    """Raises Unreadable if the table lists more than `most` entries. Moves the file's position."""
    size = file.seek(0, 2)
    begin = max(0, size - (22 + 65535))
    file.seek(begin)
    tail = file.read()
    at = tail.rfind(END)
    if at < 0 or at + 22 > len(tail):
        raise Unreadable("its end is missing; was the upload complete?")
    (length,) = struct.unpack_from("<L", tail, at + 12)
    table_end = begin + at
    if tail[max(0, at - 20) : at].startswith(LOCATOR64):
        (where,) = struct.unpack_from("<Q", tail, at - 20 + 8)
        if where + 56 > size:
            raise Unreadable("its table of contents is damaged")
        file.seek(where)
        record = file.read(56)
        if not record.startswith(END64):
            raise Unreadable("its table of contents is damaged")
        (length,) = struct.unpack_from("<Q", record, 40)
        table_end = where
    if length > min(MOST_BYTES, size) or table_end - length < 0:
        raise Unreadable("its table of contents is too large or damaged")
    # Where zipfile looks: bytes before the archive move.
    file.seek(table_end - length)
    table = file.read(length)
    count, position = 0, 0
    while position + 46 <= length:
        name, extra, comment = struct.unpack_from("<HHH", table, position + 28)
        position += 46 + name + extra + comment
        count += 1
        if count > most:
            raise Unreadable(f"it lists more than {most} entries")
