"""Files to a browser or program, piece by piece, never whole in memory.

Under ASGI Django would collect a synchronous stream whole before it sends the first byte, so the
stream is made for the server that asked: asynchronous for ASGI, plain for WSGI and tests. Every
answer is an attachment that a browser neither shows nor guesses at.
"""

import io
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import IO

from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpRequest, StreamingHttpResponse
from django.utils.http import content_disposition_header

PIECE = 1 << 20  # bytes
EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first moment: the same files are the same archive


def file(
    request: HttpRequest, source: IO[bytes], *, name: str, size: int | None = None
) -> StreamingHttpResponse:
    """An open binary file, closed when it is sent."""
    response = _attachment(request, _pieces(source), name, "application/octet-stream")
    if size is not None:
        response.headers["Content-Length"] = str(size)
    return response


def archive(
    request: HttpRequest, files: Iterable[tuple[str, Callable[[], IO[bytes]]]], *, name: str
) -> StreamingHttpResponse:
    """A zip made while it is sent: of each file its name inside and what opens it.

    Stored, not compressed: weights hardly shrink, and a slow network is the only judge.
    """
    return _attachment(request, _zipped(files), name, "application/zip")


def _attachment(
    request: HttpRequest, pieces: Iterator[bytes], name: str, kind: str
) -> StreamingHttpResponse:
    is_async = isinstance(getattr(request, "_request", request), ASGIRequest)
    response = StreamingHttpResponse(_awaited(pieces) if is_async else pieces, content_type=kind)
    disposition = content_disposition_header(True, name.replace("/", "_"))
    response.headers["Content-Disposition"] = disposition or "attachment"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "sandbox"
    return response


async def _awaited(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    following = sync_to_async(lambda: next(pieces, None), thread_sensitive=False)
    while (piece := await following()) is not None:
        yield piece


def _pieces(source: IO[bytes]) -> Iterator[bytes]:
    with source:
        while piece := source.read(PIECE):
            yield piece


class _Pipe(io.RawIOBase):
    """Takes what zipfile writes and gives it on; it cannot be sought, so zipfile writes sizes
    behind each file."""

    def __init__(self) -> None:
        self.waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, written: bytes) -> int:  # type: ignore[override]
        self.waiting += written
        return len(written)

    def take(self) -> bytes:
        taken = bytes(self.waiting)
        self.waiting.clear()
        return taken


def _zipped(files: Iterable[tuple[str, Callable[[], IO[bytes]]]]) -> Iterator[bytes]:
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as made:
        for name, opener in files:
            info = zipfile.ZipInfo(name, EPOCH)
            info.external_attr = 0o644 << 16
            with opener() as source, made.open(info, "w", force_zip64=True) as out:
                while piece := source.read(PIECE):
                    out.write(piece)
                    yield pipe.take()
    yield pipe.take()
