"""A wire that can be cut and slowed: a TCP proxy in front of a server."""

import contextlib
import socket
import threading
import time
from types import TracebackType
from typing import Self

PIECE = 1 << 16


class Proxy:
    """Listens on a port of its own. `cut` ends every connection and lets nobody in; `swallow` keeps
    connections open and passes nothing on, as a broken route does; `delay` holds every piece up."""

    def __init__(self, port: int) -> None:
        self.behind = port
        self.delay = 0.0
        self._is_cut = False
        self._flows = threading.Event()
        self._flows.set()
        self._links: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        self._is_cut = True
        self._hang_up()

    def swallow(self) -> None:
        self._flows.clear()

    def mend(self) -> None:
        """What hung on a broken route is gone; the next connection goes through."""
        was_broken = not self._flows.is_set()
        self._is_cut = False
        if was_broken:
            self._hang_up()
        self._flows.set()

    def close(self) -> None:
        self._flows.set()
        self.cut()
        self._listener.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:  # closed
                return
            if self._is_cut:
                near.close()
                continue
            try:
                far = socket.create_connection(("127.0.0.1", self.behind), timeout=5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            with self._lock:
                self._links |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        try:
            while piece := one.recv(PIECE):
                if self.delay:
                    time.sleep(self.delay)
                self._flows.wait()
                other.sendall(piece)
        except OSError:
            pass
        finally:
            for link in (one, other):
                with contextlib.suppress(OSError):
                    link.shutdown(socket.SHUT_RDWR)
                with self._lock:
                    self._links.discard(link)
                link.close()

    def _hang_up(self) -> None:
        with self._lock:
            links = list(self._links)
        for link in links:
            with contextlib.suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)
