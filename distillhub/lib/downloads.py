"""Files of strangers, sent so that no browser runs them: as attachments, or as pictures and sounds
that were made anew, never sniffed, and in a sandbox whatever they hold."""

import io
import re
import zipfile
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import IO

from asgiref.sync import sync_to_async
from django.http import FileResponse, HttpResponse
from django.utils.http import content_disposition_header

SANDBOX = "default-src 'none'; sandbox"
A_YEAR = 31536000  # seconds: what is named by its content never changes
PIECE = 1 << 20  # bytes sent at a time
EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first moment: the same files are the same archive


class Streamed(FileResponse):
    """Sent piece by piece under ASGI too, where Django would first read the whole file."""

    block_size = PIECE

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._awaited()

    async def _awaited(self) -> AsyncIterator[bytes]:
        pieces: Iterator[bytes] = iter(self.streaming_content)  # type: ignore[arg-type]
        following = sync_to_async(lambda: next(pieces, None), thread_sensitive=False)
        while (piece := await following()) is not None:
            yield piece


def attachment(
    stream: IO[bytes], *, name: str, media_type: str, size: int, sha256: str
) -> FileResponse:
    """A download of a stored file; its sha256 is its ETag. `stream` is closed when sent."""
    response = Streamed(stream, as_attachment=True, filename=name, content_type=media_type)
    response.headers["Content-Length"] = str(size)
    response.headers["ETag"] = f'"{sha256}"'
    return _guarded(response)


def archive(files: Iterable[tuple[str, Callable[[], IO[bytes]]]], *, name: str) -> FileResponse:
    """A zip made while it is sent: of each file its name inside and what opens it.

    Stored, not compressed: weights hardly shrink, and made again it is the same to the byte.
    """
    response = Streamed(_zipped(files), content_type="application/zip")
    # Django names a download by itself only where it reads a file.
    response.headers["Content-Disposition"] = content_disposition_header(True, name) or ""
    return _guarded(response)


def streamed(pieces: Iterator[bytes], *, name: str, media_type: str) -> FileResponse:
    """A download that is made while it is sent."""
    response = Streamed(pieces, content_type=media_type)
    response.headers["Content-Disposition"] = content_disposition_header(True, name) or ""
    return _guarded(response)


def picture(png: bytes) -> HttpResponse:
    """A PNG that this server encoded itself, cacheable by the browser that may see it."""
    response = HttpResponse(png, content_type="image/png")
    response.headers["Cache-Control"] = f"private, max-age={A_YEAR}, immutable"
    response.headers["Content-Disposition"] = "inline"
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def drawing(svg: str) -> HttpResponse:
    """An SVG that this server drew itself of numbers alone, cacheable likewise."""
    response = picture(svg.encode())
    response.headers["Content-Type"] = "image/svg+xml"
    return response


def sound(wav: bytes, *, asked: str) -> HttpResponse:
    """A WAV that this server encoded itself. `asked` is the request's Range header: players ask for
    parts, and one of them plays nothing that is not sent in parts (RFC 9110, section 14.2)."""
    response = HttpResponse(wav, content_type="audio/wav")
    if part := _range(asked, len(wav)):
        first, last = part
        response = HttpResponse(wav[first : last + 1], content_type="audio/wav", status=206)
        response.headers["Content-Range"] = f"bytes {first}-{last}/{len(wav)}"
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = f"private, max-age={A_YEAR}, immutable"
    response.headers["Content-Disposition"] = "inline"
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _range(asked: str, size: int) -> tuple[int, int] | None:
    """The first and last byte of the one range that is asked for; None sends the whole, which is
    right for whatever is not understood."""
    match = re.fullmatch(r"bytes=(\d{0,15})-(\d{0,15})", asked, re.ASCII)
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size - 1
    end = min(int(last) if last else size - 1, size - 1)
    return (int(first), end) if int(first) <= end else None


def _guarded(response: FileResponse) -> FileResponse:
    response.headers["Cache-Control"] = "private, no-cache"
    response.headers["Content-Security-Policy"] = SANDBOX
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


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
