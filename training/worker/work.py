"""Work that a child process of the engine does in one go: an inspection, an export, a gate.

    carry_out(row_id)
        claim                 a worker's alone, under a lease (distillhub/lib/leases.py)
        prepare               config.json and verified inputs, in a folder of the attempt's own
        child.spawn           python -m training.engine VERB FOLDER
        found                 what `result.json` makes of the row: ready, failed, or given back

The row owns the work: one whose worker died is found lost and begun again, a few times. Runs are
held in the same way, and go on from where they were (runs.py).
"""

import logging
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models.functions import Now

from distillhub.lib import leases, storage
from distillhub.lib.leases import Fenced, GivenBack, Held, LeasedQuerySet, Row
from training.engine import journal
from training.worker import child as children
from training.worker import dispatch, folders, machine, registration

log = logging.getLogger(__name__)

MOST_LOSSES = 3  # workers that may die with one
GLANCE = 0.2  # seconds between two looks at the child
BEAT = 5.0  # seconds between two reports of what it does
NO_RESULT = "It ended without a result: probably this machine's memory is too small."

Columns = dict[str, Any]


class Failed(Exception):
    """The work cannot be done, for a reason that trying again would meet again."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class Work(ABC, Generic[Row]):
    """One kind of work. Its rows are of `model`, with the statuses `ready` and `failed` and an
    `error` beside what leases need."""

    model: type[Row]
    job: ClassVar[str]  # the Celery job that wakes a worker
    names: ClassVar[str]  # the keyword by which that job is given the row's id
    verb: ClassVar[str]  # of the engine's command line
    related: ClassVar[tuple[str, ...]] = ()  # rows that are read with it
    asked_at: ClassVar[str] = "queued_at"  # the column that says since when it waits
    hours: ClassVar[int] = 12  # that it may take
    alone: ClassVar[bool] = True  # as many at a time on a machine as it has seats
    seats: ClassVar[int] = 1
    tells: ClassVar[bool] = True  # it has a `stage` to show, and says when it `finished_at`

    @abstractmethod
    def prepare(self, row: Row, folder: Path) -> Columns:
        """Place the inputs; what `config.json` says. Raises storage.Damaged."""

    @abstractmethod
    def found(self, row: Row, result: Mapping[str, Any], folder: Path) -> Columns:
        """What a successful child's `result.json` makes of the row."""

    def announce(self, row: Row) -> None:
        """Let the project hear of a row that is ready or failed; in the transaction that says so.
        Nothing, unless a kind of work has something to say."""

    def meanwhile(self, row: Row, folder: Path) -> None:
        """Between two looks at the child: what it asked for, say. Raises storage.Damaged, and
        DatabaseError or storage.Away, after which it is called again."""

    def surroundings(self, row: Row) -> Mapping[str, str]:
        """Environment variables that the child gets besides the ordinary ones."""
        return {}

    @property
    def rows(self) -> LeasedQuerySet[Row]:
        found: LeasedQuerySet[Row] = self.model._default_manager.all()  # type: ignore[assignment]
        return found

    # -- calling workers -------------------------------------------------------------------------

    def wake(self, row: Row) -> None:
        """Have a worker do it, once this is committed. With the broker away it waits, and the
        reaper asks again."""
        transaction.on_commit(partial(self.ask, row.pk), robust=True)

    def ask(self, row_id: int) -> None:
        ids: dict[str, Any] = {self.names: row_id}
        dispatch.call(self.job, **ids)

    def call_again(self) -> None:
        """Wake workers for what nobody does: its message was lost, or its worker died."""
        old = {f"{self.asked_at}__lt": Now() - dispatch.UNANSWERED}
        for rows in (self.rows.unclaimed().filter(**old), self.rows.lost()):
            for row_id in rows.order_by("pk").values_list("pk", flat=True)[:50]:
                self.ask(row_id)

    # -- doing it --------------------------------------------------------------------------------

    def carry_out(self, row_id: int) -> None:
        """Do this piece, then whatever else waits; ends quietly when there is nothing to do, or
        another process of this machine is at it."""
        if leases.stopping.is_set():
            return
        registration.current()  # its heartbeat keeps the lease
        if not leases.takes_more():
            return
        with self._seat() if self.alone else nullcontext(True) as ours:
            following: int | None = row_id
            while ours and following is not None and leases.takes_more():
                held = self.claim(following)
                if held is not None:
                    self.attempt(held)
                unclaimed = self.rows.unclaimed().order_by("pk")
                following = unclaimed.values_list("pk", flat=True).first()

    @contextmanager
    def _seat(self) -> Iterator[bool]:
        """One of this machine's; False where all are taken."""
        with ExitStack() as stack:
            locks = [
                machine.home() / f"{self.verb}{place or ''}.lock" for place in range(self.seats)
            ]
            yield any(stack.enter_context(machine.alone(lock)) for lock in locks)

    def claim(self, row_id: int) -> Held[Row] | None:
        """Take it from those that wait, or from a worker that is gone; None when it is not to be
        had."""
        taken: Columns = {"status": self.model.LEASED[0]} | self._stage("")
        if not self.rows.filter(pk=row_id).claim(**taken):
            return None
        row = self.rows.select_related(*self.related).get(pk=row_id)
        return Held(row, row.attempt)

    def attempt(self, held: Held[Row]) -> None:
        """One attempt, to whatever end. Never raises: what is unexpected fails this piece only."""
        with leases.kept(held):
            try:
                outcome = self._outcome(held)
                over = outcome.get("status") in ("ready", "failed")
                held.settle(partial(self._over, held.row.pk) if over else None, **outcome)
            except Fenced:
                log.warning("%s goes on elsewhere, or is gone.", held)
            except DatabaseError as error:
                log.warning("%s: the database is away; the reaper will find it. %s", held, error)
                connection.close()

    def _over(self, row_id: int) -> None:
        self.announce(self.rows.select_related(*self.related).get(pk=row_id))

    def sweep(self, row_id: int | None = None) -> None:
        """End what dead workers left on this machine of one row, or of all; what they held is lost
        at once, without waiting for its lease."""
        for folder in machine.home().glob(f"{self.verb}-{row_id or '*'}-*"):
            with suppress(FileNotFoundError), machine.alone(folder) as ours:
                if not ours or not folder.exists():  # another is at it, or was until now
                    continue
                if children.end_orphan(folder):
                    log.warning("Ended a process that a dead worker had left in %s.", folder)
                _, pk, attempt = folder.name.split("-")
                gone = self.rows.held(pk=int(pk), attempt=int(attempt))
                gone.update(lease_until=Now() - timedelta(seconds=1))
                shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _folder(self, held: Held[Row]) -> Iterator[Path]:
        """The attempt's own. Who finds it unlocked knows that its worker is dead."""
        name = f"{self.verb}-{held.row.pk}-{held.attempt}"
        made = machine.home() / f".{name}"
        made.mkdir(exist_ok=True)
        with machine.alone(made):
            folder = made.rename(machine.home() / name)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def _outcome(self, held: Held[Row]) -> Columns:
        """What the row says after this attempt. Raises Fenced, and DatabaseError when away."""
        columns: Columns = {"status": "ready", "error": None}
        try:
            self.sweep(held.row.pk)
            with self._folder(held) as folder:
                columns |= self._done(held, folder)
        except GivenBack:
            return {"status": self.model.CLAIMABLE} | self._stage("")
        except (Fenced, DatabaseError):
            raise
        except Failed as failed:
            columns = _failed(failed.code, failed.detail)
        except storage.Away as away:
            columns = _failed(away.code, f"{away.detail} Then try again.")
        except storage.Damaged as damaged:
            columns = _failed("damaged", f"An input is damaged: {damaged}")
        except Exception as surprise:
            log.exception("%s met a surprise.", held)
            columns = _failed("crashed", f"The worker met a surprise: {surprise!r}"[:1000])
        return columns | self._stage("", finished_at=Now())

    def _done(self, held: Held[Row], folder: Path) -> Columns:
        """Raises Failed, GivenBack, Fenced."""
        row = held.row
        if row.times_lost >= MOST_LOSSES:
            raise Failed("lost", f"{row.times_lost} workers died with it.")
        folders.write_json(folder / "config.json", self.prepare(row, folder))
        child = children.spawn(
            folder,
            verb=self.verb,
            name=self.verb,
            threads=settings.DISTILLHUB_RUN_THREADS,
            extra=self.surroundings(row),
        )
        try:
            self._watch(held, folder, child)
        finally:
            if child.poll() is None:
                child.kill()
        result = folders.read_json(folder / "result.json")
        if not isinstance(result, dict):
            log.error("%s left no result: %s", held, child.said_last(20))
            raise Failed("crashed", NO_RESULT)
        if failed := result.get("failed"):
            raise Failed(str(failed["code"]), str(failed["sentence"])[:2000])
        return self.found(row, result, folder)

    def _watch(self, held: Held[Row], folder: Path, child: children.Child) -> None:
        """Until the child is done."""
        until = time.monotonic() + self.hours * 3600
        tell_at = 0.0
        while child.poll() is None:
            if leases.stopping.is_set():
                raise GivenBack
            if time.monotonic() > until:
                hours = "an hour" if self.hours == 1 else f"{self.hours} hours"
                raise Failed("timeout", f"It took longer than {hours}.")
            try:
                self.meanwhile(held.row, folder)
            except (DatabaseError, storage.Away) as error:
                log.warning("%s: what its child needs is away; it waits. %s", held, error)
                connection.close()
            if time.monotonic() >= tell_at:
                tell_at = time.monotonic() + BEAT
                try:
                    held.write(**self._stage(said(folder)))
                except DatabaseError as error:
                    log.warning("%s: the database is away; its child goes on. %s", held, error)
                    connection.close()
            time.sleep(GLANCE)

    def _stage(self, said: str, **more: Any) -> Columns:
        return {"stage": said, **more} if self.tells else {}


def _failed(code: str, detail: str) -> Columns:
    return {"status": "failed", "error": {"code": code, "detail": detail}}


def said(folder: Path) -> str:
    """What the child does now: its stage, and the last thing it said there."""
    stage = said = ""
    for line in journal.read(folder / "journal.jsonl"):
        if line["type"] == "stage":
            stage, said = line["name"], ""
        elif line["type"] == "logged":
            said = line["text"]
    return (f"{stage}: {said}" if said else stage)[:100]
