"""Whether the parts that this process needs are there: database, broker, storage.

Broker and storage are asked by threads of their own, at most every few seconds, and only while
somebody wants to know: a request never waits for them, it reads what was found last.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import Error, connection
from django.http import HttpRequest

from distillhub.lib import places

FRESH = 5.0  # seconds an answer counts
PATIENCE = 4.0  # seconds after which a part that is still being asked is away

OK, AWAY, UNKNOWN = "ok", "away", "unknown"


@dataclass
class Part:
    """Something that may be away. `ask` raises whatever it likes when it is."""

    ask: Callable[[], None]
    sentence: str  # for people: what does not work meanwhile
    _state: str = UNKNOWN
    _asked_at: float = 0.0
    _answered_at: float = 0.0
    _asking: threading.Thread | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def state(self, *, wait: float = 0.0) -> str:
        """`ok`, `away`, or `unknown` before the first answer. Asks again when that was some time
        ago, and waits so many seconds for it."""
        with self._lock:
            now = time.monotonic()
            asking = self._asking
            if asking is None and (not self._answered_at or now - self._answered_at > FRESH):
                self._asked_at = now
                asking = threading.Thread(target=self._look, name="readiness", daemon=True)
                self._asking = asking
                asking.start()
        if asking is not None and wait:
            asking.join(wait)
        with self._lock:
            if self._asking is not None and time.monotonic() - self._asked_at > PATIENCE:
                return AWAY
            return self._state

    def forget(self) -> None:
        """Have it asked again at the next look."""
        self._answered_at = 0.0

    def _look(self) -> None:
        try:
            self.ask()
            found = OK
        except Exception:  # whatever it is, the part cannot be used
            found = AWAY
        with self._lock:
            self._state, self._answered_at, self._asking = found, time.monotonic(), None


def _ask_broker() -> None:
    with current_app.connection_for_write(connect_timeout=3) as link:
        link.ensure_connection(max_retries=1, timeout=3)
        if not settings.REDIS_URL:
            _ask_folder(Path(str(settings.CELERY_BROKER_TRANSPORT_OPTIONS["data_folder_out"])))


def _ask_storage() -> None:
    where = places.place()
    if isinstance(where, places.Folder):
        where.root.mkdir(parents=True, exist_ok=True)
        _ask_folder(where.root)
    else:
        where.look("blobs/readiness")


def _ask_folder(folder: Path) -> None:
    """Whether a file can be written there."""
    with tempfile.TemporaryFile(dir=folder, prefix=places.UNFINISHED) as probe:
        probe.write(b"ready")
        probe.flush()


PARTS: Mapping[str, Part] = {
    "broker": Part(
        _ask_broker,
        "The queue does not answer. Pages work and training goes on; what is launched now is kept, "
        "and begins by itself once the queue is back.",
    ),
    "storage": Part(
        _ask_storage,
        "File storage does not answer. Runs in training go on; uploads, downloads and new runs "
        "have to wait.",
    ),
}


def database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except Error:
        return AWAY
    return OK


def states() -> dict[str, str]:
    """Of every part, asked now where the last answer is old."""
    for part in PARTS.values():
        part.state()  # all at once
    return {"database": database()} | {
        name: part.state(wait=PATIENCE) for name, part in PARTS.items()
    }


def away(request: HttpRequest) -> dict[str, Any]:
    """For templates: sentences about what is away, as far as this process knows."""
    return {"away": _sentences}


def _sentences() -> list[str]:
    return [part.sentence for part in PARTS.values() if part.state() == AWAY]
