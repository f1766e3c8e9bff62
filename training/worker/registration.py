"""This process as a row that people see, and the heartbeat that says it is alive.

One heartbeat for the whole process renews the worker's row and the leases of all that it holds. It
runs in a thread of its own, so that a run busy hashing a large file does not lose its lease.
"""

import logging
import os
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

import psutil
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models.functions import Now

from distillhub.lib import leases
from training.models import Run, Worker, WorkerEvent
from training.worker import machine
from training.worker.history import History, forget_old

log = logging.getLogger(__name__)

HEARTBEAT = settings.DISTILLHUB_LEASE_SECONDS / 4.5  # seconds: ten
ABSENT = timedelta(seconds=60)  # unseen for so long, a worker is gone

_here = threading.Lock()
_queues: tuple[str, ...] = ("default",)
_worker: Worker | None = None
_heart: "Heart | None" = None
_history: History | None = None
_ahead = 0.0  # seconds that the database's clock is ahead of this machine's


def serve(queues: Sequence[str]) -> None:
    """Which queues this process takes runs from."""
    global _queues
    _queues = tuple(queues)


def start(*, capacity: int | None = None) -> Worker:
    """Register this process and let its heart beat."""
    global _worker, _heart, _history, _ahead
    with _here:
        leases.stopping.clear()
        leases.drained_when(is_drained)
        name = f"{machine.host()}:{os.getpid()}"
        _worker, is_new = Worker.objects.update_or_create(
            name=name,
            defaults={
                "host": machine.host(),
                "pid": os.getpid(),
                "queues": list(_queues),
                "capacity": capacity or settings.DISTILLHUB_MAX_RUNS,
                "machine": machine.facts()
                | {"home": machine.home_id(), "began": psutil.Process().create_time()},
                "load": machine.load(),
                "started_at": Now(),
                "seen_at": Now(),
                "stopped_at": None,
            },
        )
        _worker.refresh_from_db()
        _ahead = _worker.seen_at.timestamp() - time.time()
        if is_new:
            _take_over(_worker)
        if _history is None or _history.worker_id != _worker.pk:
            _history = History(_worker.pk)
            forget_old(now())
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


def is_drained() -> bool:
    """Whether an administrator had this process take nothing new."""
    worker = _worker
    if worker is None:
        return False
    return not Worker.objects.filter(pk=worker.pk, drained_at=None).exists()


def now() -> float:
    """Seconds since the epoch by the database's clock, the only one that counts."""
    return time.time() + _ahead


def _take_over(worker: Worker) -> None:
    """A worker that was drained stays so when its process is started anew."""
    before = Worker.objects.filter(
        host=worker.host, queues=worker.queues, machine__home=worker.machine["home"]
    )
    drained = before.exclude(pk=worker.pk).exclude(drained_at=None).order_by("-seen_at")
    gone = next((one for one in drained if not psutil.pid_exists(one.pid)), None)
    if gone is None:
        return
    changes = {"drained_at": gone.drained_at, "drain": gone.drain}
    Worker.objects.filter(pk=worker.pk).update(**changes)
    Worker.objects.filter(pk=gone.pk).update(drained_at=None, drain="")
    WorkerEvent.objects.create(
        worker=worker,
        kind="drained",
        sentence=f"Started in the place of {gone.name}, which was drained; still takes nothing.",
    )
    worker.refresh_from_db()


def stop() -> None:
    """This process takes nothing more; its row says so."""
    global _worker, _heart
    leases.stopping.set()
    leases.drained_when(None)
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
    load = machine.load() | {"journal_lag_bytes": _journal_lag()}
    history = _history
    if history is not None:
        history.note(load, now())
    Worker.objects.filter(pk=worker_id).update(seen_at=Now(), load=load)
    for held in tuple(leases.holding):
        held.renew()
    if history is not None and history.worker_id == worker_id:
        history.save()


def _journal_lag() -> int:
    """Bytes that trainings held here have told and no row says yet."""
    runs = [held.row.pk for held in tuple(leases.holding) if isinstance(held.row, Run)]
    lag = 0
    for pk, offset in Run.objects.filter(pk__in=runs).values_list("pk", "journal_offset"):
        with suppress(OSError):  # it has no journal yet
            journal = machine.home() / str(pk) / "journal.jsonl"
            lag += max(0, journal.stat().st_size - offset)
    return lag
