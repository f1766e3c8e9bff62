"""This process as a row that people see, and the heartbeat that says it is alive.

One heartbeat for the whole process renews the worker's row and the leases of every run it holds.
It runs in a thread of its own, so that a run busy hashing a large file does not lose its lease.
"""

import logging
import os
import threading
from collections.abc import Sequence
from datetime import timedelta

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import DateTimeField, ExpressionWrapper
from django.db.models.expressions import Combinable
from django.db.models.functions import Now

from training.models import Run, Worker
from training.worker import machine

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=45)
HEARTBEAT = 10.0  # seconds
ABSENT = timedelta(seconds=60)  # unseen for so long, a worker is gone

#: Set when this process was asked to leave: children checkpoint, their runs go back to the queue.
stopping = threading.Event()

#: The runs this process holds: id to attempt. A lease is renewed only while its run is in here.
holding: dict[int, int] = {}

_here = threading.Lock()
_queues: tuple[str, ...] = ("default",)
_worker: Worker | None = None
_heart: "Heart | None" = None


def in_future(delay: timedelta) -> Combinable:
    """A time by the database's clock, the only one that counts."""
    return ExpressionWrapper(Now() + delay, output_field=DateTimeField())


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
    """Say that the worker is alive, and keep its runs. A lease that was lost is not taken back:
    the run then belongs to nobody or to another worker, and this filter does not match it."""
    Worker.objects.filter(pk=worker_id).update(seen_at=Now(), load=machine.load())
    for run_id, attempt in list(holding.items()):
        Run.objects.held(pk=run_id, attempt=attempt).update(lease_until=in_future(LEASE))
