"""When the next request may begin."""

import threading
import time


class Pace:
    """Shared by the threads that ask: at most so many requests a minute, and none while the service
    has asked to wait."""

    def __init__(self, per_minute: int) -> None:
        self._between = 60.0 / per_minute if per_minute else 0.0
        self._next = self._closed_until = 0.0
        self._lock = threading.Lock()

    def turn(self) -> float:
        """Take the next place in line; how many seconds from now that is."""
        with self._lock:
            now = time.monotonic()
            begins = max(now, self._next, self._closed_until)
            self._next = begins + self._between
            return begins - now

    def close(self, seconds: float) -> None:
        """Begin nothing for so long."""
        with self._lock:
            self._closed_until = max(self._closed_until, time.monotonic() + seconds)
