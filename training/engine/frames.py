"""Messages between a process that asks and one that answers, over a Unix socket.

A message is a header of JSON with pieces of bytes behind it (pictures, sounds): four bytes with the
header's length, the header, then the pieces, whose lengths stand in the header as `pieces`. Both
sides import this module alone: the one that asks holds no torch.
"""

import json
import os
import socket
import stat
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

JSON = dict[str, Any]
MOST_HEADER = 64 << 20  # bytes
MOST_PIECES = 4096
MOST_BYTES = 512 << 20  # of all pieces
LONGEST = 100  # bytes of a socket's address; systems take 104 to 108


class Torn(Exception):
    """The other side is gone, or says what is no message."""


def send(to: socket.socket, header: JSON, pieces: Sequence[bytes] = ()) -> None:
    """Raises OSError when the other side is gone."""
    said = {**header, "pieces": [len(one) for one in pieces]}
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
    to.sendall(len(text).to_bytes(4, "big") + text)
    for one in pieces:
        to.sendall(one)


def receive(source: socket.socket) -> tuple[JSON, list[bytes]]:
    """The next message. Raises Torn, and TimeoutError as the socket's own limit says."""
    length = int.from_bytes(_exactly(source, 4), "big")
    if length > MOST_HEADER:
        raise Torn("The header is too long.")
    try:
        header = json.loads(_exactly(source, length))
        lengths = [int(one) for one in header.pop("pieces")]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise Torn("The header is no JSON of ours.") from None
    if len(lengths) > MOST_PIECES or min(lengths, default=0) < 0 or sum(lengths) > MOST_BYTES:
        raise Torn("The pieces are too many or too long.")
    return header, [_exactly(source, one) for one in lengths]


def _exactly(source: socket.socket, count: int) -> bytes:
    found = bytearray()
    while len(found) < count:
        try:
            some = source.recv(min(1 << 20, count - len(found)))
        except TimeoutError:
            raise
        except OSError as error:
            raise Torn(str(error)) from error
        if not some:
            raise Torn("The other side is gone.")
        found += some
    return bytes(found)


def address(folder: Path) -> Path:
    """Where the socket of a folder is: inside it, or, as addresses of sockets are short, in a
    folder of this user's own among temporary files. Raises PermissionError for one that is
    somebody else's."""
    inside = folder / "socket"
    if len(os.fsencode(inside)) <= LONGEST:
        return inside
    name = sha256(os.fsencode(folder)).hexdigest()[:24]
    short = Path(tempfile.gettempdir()) / f"distillhub-{os.getuid()}-{name}"
    short.mkdir(mode=0o700, exist_ok=True)
    found = short.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{short} is not a folder of this user alone.")
    return short / "socket"
