"""An HTTP client for addresses that people give (outgoing.py): each connection goes to an address
that was looked at, no redirect is followed, no proxy of the environment is used, and an answer that
is too long or too slow is cut.
"""

import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import httpcore2
import httpx2

from distillhub.lib import outgoing

MOST_BYTES = 16 << 20  # of an answer
KEPT_OPEN = 20.0  # seconds


class Refused(httpx2.ConnectError):
    """The name led to an address that nothing is sent to."""


class TooLong(httpx2.ReadError):
    """The answer is longer than may be read."""


class TooSlow(httpx2.ReadTimeout):
    """The answer was not whole in time."""


class Transport(httpx2.HTTPTransport):
    """Reads every answer whole, within a time and a size."""

    def __init__(self, *, seconds: float, most_bytes: int, connections: int) -> None:
        context = ssl.create_default_context()
        super().__init__(verify=context, trust_env=False)
        self.seconds, self.most_bytes = seconds, most_bytes
        # httpx2 has no other way to say how sockets are opened.
        self._pool = httpcore2.ConnectionPool(
            ssl_context=context,
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=KEPT_OPEN,
            network_backend=_Checked(),
        )

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        until = time.monotonic() + self.seconds
        request.headers["accept-encoding"] = (
            "identity"  # no small answer that unpacks to a huge one
        )
        request.extensions = {
            **request.extensions,
            "timeout": dict.fromkeys(("connect", "read", "write", "pool"), self.seconds),
        }
        with _until(until):
            answer = super().handle_request(request)
            try:
                body = self._read(answer, until)
            finally:
                answer.close()
        return httpx2.Response(
            answer.status_code, headers=answer.headers, content=body, request=request
        )

    def _read(self, answer: httpx2.Response, until: float) -> bytes:
        if answer.headers.get("content-encoding", "identity").strip().lower() not in {
            "",
            "identity",
        }:
            raise TooLong("The answer is compressed, though it was asked not to be.")
        if int(answer.headers.get("content-length", 0) or 0) > self.most_bytes:
            raise TooLong(f"The answer has more than {self.most_bytes >> 20} MiB.")
        parts, size = [], 0
        for part in answer.iter_raw():
            size += len(part)
            if size > self.most_bytes:
                raise TooLong(f"The answer has more than {self.most_bytes >> 20} MiB.")
            if time.monotonic() > until:
                raise TooSlow("The answer was not whole in time.")
            parts.append(part)
        return b"".join(parts)


def client(*, seconds: float, connections: int = 8, most_bytes: int = MOST_BYTES) -> httpx2.Client:
    """A client of which each request takes at most so many seconds, from connecting to the last
    byte. Its errors are httpx2's: Refused, TooLong and TooSlow among them."""
    return httpx2.Client(
        transport=Transport(seconds=seconds, most_bytes=most_bytes, connections=connections),
        follow_redirects=False,
        trust_env=False,
        timeout=seconds,
    )


# How its sockets are opened ---------------------------------------------------------------------


class _Deadline(threading.local):
    until: float | None = None


_deadline = _Deadline()


@contextmanager
def _until(moment: float) -> Iterator[None]:
    """What this thread reads and writes in here is done by then, in however small pieces it comes.
    Time-outs of sockets begin anew with every byte."""
    before = _deadline.until
    _deadline.until = moment
    try:
        yield
    finally:
        _deadline.until = before


def _left(timeout: float | None) -> float | None:
    if _deadline.until is None:
        return timeout
    left = _deadline.until - time.monotonic()
    if left <= 0:
        raise TooSlow("The answer was not whole in time.")
    return left if timeout is None else min(timeout, left)


class _Checked(httpcore2.NetworkBackend):
    """Connects to addresses that were looked at, and to no other that the name has meanwhile."""

    def __init__(self) -> None:
        self._sockets = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore2.ConnectError(f"{host} has no address: {error}") from error
        addresses = [outgoing.of_socket(info[4]) for info in infos]
        try:
            outgoing.check_addresses(host, addresses)
        except outgoing.Refused as refused:
            raise Refused(refused.detail) from None
        failed: Exception = httpcore2.ConnectError(f"{host} has no address.")
        for address in dict.fromkeys(addresses):
            try:
                stream = self._sockets.connect_tcp(
                    str(address), port, _left(timeout), local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                failed = error
                continue
            peer = outgoing.of_socket(stream.get_extra_info("server_addr"))
            if peer != address:
                stream.close()
                raise Refused(f"{host} is answered for by {peer}, which was not looked at.")
            return _Timed(stream)
        raise failed

    def connect_unix_socket(self, *args: Any, **kwargs: Any) -> httpcore2.NetworkStream:
        raise Refused("Requests go over the network only.")


class _Timed(httpcore2.NetworkStream):
    """A stream that keeps the deadline of the request it is used for."""

    def __init__(self, stream: httpcore2.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
