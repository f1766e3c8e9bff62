"""This process as a row that people see, and the heartbeat that says it is alive.

One heartbeat for the whole process renews the worker's row and the leases of all that it holds. It
runs in a thread of its own, so that a run busy hashing a large file does not lose its lease.
"""

import logging
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models.functions import Now

from distillhub.lib.leases import Held
from training.models import Worker
from training.worker import machine

log = logging.getLogger(__name__)

HEARTBEAT = settings.DISTILLHUB_LEASE_SECONDS / 4.5  # seconds: ten
ABSENT = timedelta(seconds=60)  # unseen for so long, a worker is gone

#: Set when this process was asked to leave: children checkpoint, what they did goes back.
stopping = threading.Event()

#: What this process holds. A lease is renewed only while its row is in here.
holding: set[Held[Any]] = set()

_here = threading.Lock()
_queues: tuple[str, ...] = ("default",)
_worker: Worker | None = None
_heart: "Heart | None" = None


def serve(queues: Sequence[str]) -> None:
    """Which queues this process takes runs from."""
    global _queues
    _queues = tuple(queues)


def start(*, capacity: int | None = None) -> Worker:
    """Register this process and let its heart beat."""
    global _worker, _heart
    with _here:
        stopping.clear()
        name = f"{machine.host()}:{os.getpid()}"
        _worker, _ = Worker.objects.update_or_create(
            name=name,
            defaults={
                "host": machine.host(),
                "pid": os.getpid(),
                "queues": list(_queues),
                "capacity": capacity or settings.DISTILLHUB_MAX_RUNS,
                "machine": machine.facts() | {"home": machine.home_id()},
                "load": machine.load(),
                "started_at": Now(),
                "seen_at": Now(),
                "stopped_at": None,
            },
        )
        _worker.refresh_from_db()
        if _heart is None:
            _heart = Heart(_worker.pk)
            _heart.start()
        return _worker


def current() -> Worker:
    """The row of this process; registers it when nobody has."""
    worker = _worker
    if worker is not None and worker.pid == os.getpid():
        return worker
    return start()


def stop() -> None:
    """This process takes nothing more; its row says so."""
    global _worker, _heart
    stopping.set()
    with _here:
        if _heart is not None:
            _heart.end()
            _heart = None
        if _worker is not None:
            try:
                Worker.objects.filter(pk=_worker.pk).update(stopped_at=Now())
            except DatabaseError:
                log.warning("The database is away; this worker will be seen as gone in a minute.")
            _worker = None


class Heart(threading.Thread):
    def __init__(self, worker_id: int) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.worker_id = worker_id
        self._end = threading.Event()

    def run(self) -> None:
        while not self._end.wait(HEARTBEAT):
            try:
                beat(self.worker_id)
            except DatabaseError as error:
                log.warning("The heartbeat did not reach the database: %s", error)
            finally:
                connection.close()

    def end(self) -> None:
        self._end.set()
        if threading.current_thread() is not self:
            self.join(timeout=HEARTBEAT)


def beat(worker_id: int) -> None:
    """Say that the worker is alive, and keep what it holds."""
    Worker.objects.filter(pk=worker_id).update(seen_at=Now(), load=machine.load())
    for held in tuple(holding):
        held.renew()


@contextmanager
def kept(held: Held[Any]) -> Iterator[None]:
    """The heartbeat renews the lease inside this block, and not a moment longer."""
    holding.add(held)
    try:
        yield
    finally:
        holding.discard(held)
