"""Bodies of requests: those that are too large are refused before they fill a disk (Django itself
bounds fields, but not files), and those that the disk has no room for are refused in a sentence."""

import asyncio
import contextlib
import io
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.exceptions import RequestAborted, RequestDataTooBig
from django.core.files.uploadhandler import FileUploadHandler, TemporaryFileUploadHandler
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from distillhub.lib import lent_threads
from distillhub.lib.places import Away, taken_by_disk

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

FORM = 16 << 20  # bytes of a body besides its files
FILES = 2  # of the largest size, in one body
TOO_BIG = "The upload is larger than may be uploaded."


def most_bytes() -> int:
    """Of one body."""
    return FILES * _most() + FORM


def _most() -> int:
    return int(settings.DISTILLHUB_MAX_UPLOAD_MIB) << 20


class SizeLimit(FileUploadHandler):
    """First among FILE_UPLOAD_HANDLERS; passes everything on. Raises RequestDataTooBig."""

    def __init__(self, request: Any = None) -> None:
        super().__init__(request)
        self.most = _most()
        self.received = 0

    def handle_raw_input(
        self,
        input_data: Any,
        META: dict[str, str],  # noqa: N803 (Django's name)
        content_length: int,
        boundary: str,
        encoding: str | None = None,
    ) -> None:
        if content_length > most_bytes():
            raise RequestDataTooBig(TOO_BIG)

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self.received = 0

    def receive_data_chunk(self, raw_data: bytes, start: int) -> bytes:
        self.received += len(raw_data)
        if self.received > self.most:
            raise RequestDataTooBig("A file is larger than may be uploaded.")
        return raw_data

    def file_complete(self, file_size: int) -> None:
        return None


class OnDisk(TemporaryFileUploadHandler):
    """Files in FILE_UPLOAD_TEMP_DIR. Raises Away when the disk takes no more."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        with taken_by_disk():
            super().new_file(*args, **kwargs)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        with self._writing():
            super().receive_data_chunk(raw_data, start)

    def file_complete(self, file_size: int) -> Any:
        with self._writing():
            return super().file_complete(file_size)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """What is half there goes at once: closed by Django, it would ask the disk once more."""
        try:
            with taken_by_disk():
                yield
        except Away:
            with contextlib.suppress(OSError):
                self.file.close()
            raise


#: Of a resumable upload what has arrived counts, also when the connection is lost behind it.
RESUMABLE = b"application/offset+octet-stream"
_resumable: ContextVar[bool] = ContextVar("resumable", default=False)


class Handler(ASGIHandler):
    """Keeps a body on the disk of FILE_UPLOAD_TEMP_DIR, not in the system's folder, which may lie
    in memory. Of one that is too large, or too large for the disk, nothing is kept: whoever reads
    it is told why, and a view that reads none answers as ever. Of a body that is cut off a view
    sees nothing, unless its upload can go on later. The view runs in a thread that is lent."""

    def __init__(self) -> None:
        super().__init__()
        # Every middleware and view here is synchronous: the whole of a request is one call in its
        # thread. Django's own way goes back to the event loop for each view, which costs as much
        # as a short answer.
        self.load_middleware(is_async=False)
        lent_threads.keep_connections()

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        return await sync_to_async(self.get_response)(request)

    async def __call__(
        self, scope: dict[str, Any], receive: Receive, send: Callable[..., Awaitable[None]]
    ) -> None:
        async with lent_threads.lent():
            await super().__call__(scope, receive, send)

    async def handle(
        self, scope: dict[str, Any], receive: Receive, send: Callable[..., Awaitable[None]]
    ) -> None:
        is_resumable = (b"content-type", RESUMABLE) in scope["headers"]
        _resumable.set(is_resumable)
        await super().handle(scope, _once_gone(receive) if is_resumable else receive, send)

    async def read_body(self, receive: Receive) -> IO[bytes]:
        body = tempfile.SpooledTemporaryFile(  # noqa: SIM115 (closed with the request)
            max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE, dir=str(settings.FILE_UPLOAD_TEMP_DIR)
        )
        most, received = most_bytes(), 0
        fault: Exception | None = None
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                if not _resumable.get():
                    body.close()
                    raise RequestAborted
                message = {"body": b""}
            more = message.get("more_body", False)
            piece = message.get("body", b"")
            received += len(piece)
            if received > most:
                fault = fault or RequestDataTooBig(TOO_BIG)
            if fault is None:
                try:
                    with taken_by_disk():
                        body.write(piece)
                        if not more:
                            body.seek(0)
                except Away as away:
                    fault = away
            if fault is not None and not body.closed:
                with contextlib.suppress(OSError):  # what is still to be written has no room either
                    body.close()
        return body if fault is None else _Refused(fault)  # type: ignore[return-value]


def _once_gone(receive: Receive) -> Receive:
    """Tells once that the client is gone: what is made of its bytes is made to the end."""
    gone = False

    async def listen() -> Mapping[str, Any]:
        nonlocal gone
        if gone:
            await asyncio.Event().wait()  # until the answer is ready, and this is cancelled
        message = await receive()
        gone = message["type"] == "http.disconnect"
        return message

    return listen


class _Refused(io.RawIOBase):
    """A body that was not kept."""

    def __init__(self, fault: Exception) -> None:
        self.fault = fault

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        raise self.fault

    readline = read  # type: ignore[assignment]
