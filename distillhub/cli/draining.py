"""A web process that leaves without cutting anybody off.

uvicorn closes connections that wait for their next request as soon as it is asked to stop, and
those that are being answered right after, without a word; whoever writes the next request at that
moment is reset. Here a visitor is told `Connection: close`, and connections without a request stay
open a little longer.
"""

from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

CLOSE = (b"connection", b"close")
LINGER = 1.0  # seconds that a connection without a request stays open


class Draining(H11Protocol):
    is_leaving = False

    def shutdown(self) -> None:
        self.is_leaving = True
        self._say_close()
        self.loop.call_later(LINGER, self._leave)

    def handle_events(self) -> Any:
        super().handle_events()
        if self.is_leaving:
            self._say_close()

    def _say_close(self) -> None:
        """In the answer that is being made, if its head is not on its way."""
        cycle = getattr(self, "cycle", None)  # none before the first request
        if cycle is not None and not cycle.response_started and CLOSE not in cycle.default_headers:
            cycle.default_headers = [*cycle.default_headers, CLOSE]

    def _leave(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()
