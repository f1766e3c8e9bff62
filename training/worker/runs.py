"""Carrying out runs: claim one, start its training, turn what it tells into rows, end it.

    execute(run_id)
        claims.claim            queued -> starting, under a lease
        folders.prepare         config.json and verified inputs
        child.spawn             python -m training.engine train JOB_DIR
        record.record           about once a second, while the child lives
        outcomes.*              finished, failed, cancelled, or back to the queue

The training never waits for us: when the database is away, the child goes on and its journal is
worked off later.
"""

import logging
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connection

from distillhub.lib import leases, storage
from training.worker import (
    checkpoints,
    claims,
    console,
    deaths,
    folders,
    journal,
    line,
    machine,
    outcomes,
    record,
    registration,
    seats,
    stalls,
    sweeps,
    takeover,
    vitals,
)
from training.worker import child as children
from training.worker.claims import Fenced, Held

log = logging.getLogger(__name__)

GLANCE = 0.2  # seconds between two looks at the child
BATCH = 1.0  # seconds between two writes
LAST_CHECKPOINT = 10.0  # seconds for which a worker that leaves waits until it is in storage
LONGEST_PAUSE = 5.0  # seconds between two tries when the database is away


@dataclass(frozen=True, slots=True)
class Going:
    """A training under way: its process, what that prints, and what it takes of the machine."""

    child: children.Child
    console: console.Console
    vitals: vitals.Vitals
    stalls: stalls.Watch

    def write(self, *, is_over: bool) -> None:
        """Raises Fenced, and DatabaseError when away."""
        self.console.write(is_over=is_over)
        self.vitals.write()

    def hangs(self) -> bool:
        """Whether it was found to hang, and therefore ended. One that was asked to leave has its
        own term."""
        child = self.child
        if child.asked_at is None and not child.hung and (how := self.stalls.look()):
            log.warning("It hangs: %s. It is ended.", how)
            child.end_hung(how)
        return bool(child.hung)


_slots = threading.Lock()
_busy = 0


def execute(run_id: int) -> None:
    """Carry out whatever waits, in the order of line.py, as long as this process has room.

    The answer to a wake-up call about a run. Which one was queued does not matter: the one whose
    turn it is begins. It ends quietly when there is none, or this process trains all that it can.
    """
    worker = registration.current()
    while not leases.stopping.is_set() and _enter(worker.capacity):
        try:
            held = claims.claim_next(worker)
            if held is not None:
                carry_out(held)
        finally:
            _leave()
        # A run that was queued while we held the last slot had its call answered with "no room".
        if held is None and line.next_for(worker) is None:
            return


def carry_out(held: Held) -> None:
    """One attempt, to whatever end. Never raises: what is unexpected fails this run only."""
    with leases.kept(held):
        log.info("Begins.")
        try:
            _attempt(held)
            log.info("Over.")
        except Fenced as error:
            log.warning("Stopped: %s goes on elsewhere.", error)
        except storage.Damaged as error:
            _fail_quietly(held, "dataset_changed", f"An input of this run is damaged: {error}")
        except storage.Away as error:
            _rest_quietly(held, error)
        except Exception as error:
            log.exception("Run %s met a surprise.", held.run.pk)
            _fail_quietly(held, "crashed", f"The worker met a surprise: {error!r}"[:1000])


def _attempt(held: Held) -> None:
    folder = takeover.own_folder(held)
    console.catch_up(held, folder)
    keeper = checkpoints.Keeper(held, folder)
    try:
        if not _drain(held, folder, keeper):
            _train(held, folder, keeper)
        # Else an earlier attempt came to its end, and its worker did not.
    finally:
        keeper.end()


def _train(held: Held, folder: Path, keeper: checkpoints.Keeper) -> None:
    folders.prepare(held.run)
    with seats.seat(held.run) as cards:
        if cards is None:
            outcomes.give_back(held, "Others took the GPUs it was to have; it waits for its turn.")
            return
        held.write(cards=[card.index for card in cards])
        where = "".join(f", GPU {card.index}" for card in cards)
        said = console.Console(held, console.file_of(folder, held.attempt))
        said.begin(f"Attempt {held.attempt}, on {machine.host()}{where}")
        child = children.spawn(
            folder,
            verb="train",
            name=str(held.attempt),
            threads=settings.DISTILLHUB_RUN_THREADS,
            processes=max(1, len(cards) if held.run.gpus else 1),
            extra=seats.surroundings(cards),
        )
        vital = vitals.watch(held, folder, child.pid, cards)
        grows = (folder / "journal.jsonl", said.file)
        going = Going(child, said, vital, stalls.watch(grows, vital.tree, cards))
        try:
            _follow(held, folder, keeper, going)
        finally:
            if child.poll() is None:
                child.kill()


def _follow(held: Held, folder: Path, keeper: checkpoints.Keeper, going: Going) -> None:
    """Turn events into rows until the child is gone and its journal is read to the end.

    With database or storage away the training goes on, and what it leaves stays here until it can
    be recorded.
    """
    child = going.child
    oom_before = deaths.oom_kills()
    trial: sweeps.Watch | None = None
    is_known = False  # whether it is a trial: the database may be away now
    pause = BATCH
    while True:
        status = child.poll()
        going.vitals.look()
        if status is None and going.hangs():
            status = child.poll() or -signal.SIGKILL
        try:
            try:
                if _drain(held, folder, keeper, going):
                    return
            except storage.Away as error:
                if outcomes.wait_for_storage(held, error.detail, over=status is not None):
                    return
                if status is not None:
                    time.sleep(BATCH)
                    continue
            going.write(is_over=status is not None)
            if status is not None:
                deaths.settle(held, child, status, oom_before)
                return
            if not is_known:
                trial, is_known = sweeps.watch(held.run), True
            run = held.now()
            if trial is not None and trial.look(run):
                run = held.now()
            drained = run.worker is not None and run.worker.is_leaving
            if run.cancel_requested_at is not None or run.pause_requested_at is not None or drained:
                child.leave()
            pause = BATCH
        except DatabaseError as error:
            log.warning("Run %s: the database is away; its journal waits. %s", held.run.pk, error)
            connection.close()
            if status is not None and leases.stopping.is_set():
                return  # nothing can be told any more; whoever takes the run reads its journal
            pause = min(LONGEST_PAUSE, pause * 2)
        if leases.stopping.is_set():
            child.leave()
        _wait(child, pause)


def _wait(child: children.Child, seconds: float) -> None:
    """Until it is time for the next batch, the child goes, or we have to go."""
    until = time.monotonic() + seconds
    was_gone = child.poll() is not None  # and what it left waits for the database
    while time.monotonic() < until and (was_gone or child.poll() is None):
        if leases.stopping.is_set() and (was_gone or child.asked_at is None):
            return
        time.sleep(GLANCE)


def _drain(
    held: Held, folder: Path, keeper: checkpoints.Keeper, going: Going | None = None
) -> bool:
    """Record what the journal holds beyond what is recorded; True when the attempt is over.

    What a quick training adds meanwhile waits for the next turn: whoever wants it cancelled must
    be heard between the two.
    """
    file = folder / "journal.jsonl"
    size = file.stat().st_size if file.exists() else 0
    while True:
        offset = held.now().journal_offset
        batch = journal.read(file, offset)
        if batch.offset > offset:
            record.record(held, folder, batch)
            keeper.saw(batch.events)
            if batch.last is None and batch.offset < size:
                continue
        if batch.last is None:
            return False
        return _end(held, folder, keeper, batch, going)


def _end(
    held: Held,
    folder: Path,
    keeper: checkpoints.Keeper,
    batch: journal.Batch,
    going: Going | None,
) -> bool:
    """What the last event of an attempt leads to."""
    event, offset = batch.last, batch.last_offset
    assert event is not None
    if going is not None:
        _let_leave(going.child)
        going.write(is_over=True)
    match event["type"]:
        case "finished":
            keeper.end()
            outcomes.finish(held, folder, event.get("summary") or {}, offset)
            return True
        case "failed" if going is not None:
            outcomes.fail(
                held,
                code=str(event.get("code", "crashed"))[:50],
                detail=str(event.get("sentence") or "The training failed.")[:2000],
                trace=str(event.get("trace", ""))[:20_000],
                offset=offset,
            )
            return True
        case "stopped" if going is not None:
            if held.now().cancel_requested_at is None:
                keeper.store_last(LAST_CHECKPOINT)
            outcomes.leave(held, record.whole(event.get("step")), offset)
            return True
    # The end of an attempt whose worker died before it could say so; this one begins after it.
    held.write(journal_offset=offset)
    return _drain(held, folder, keeper)


def _let_leave(child: children.Child) -> None:
    """The child has told its last event; it needs a moment to exit."""
    until = time.monotonic() + 10
    while child.poll() is None and time.monotonic() < until:
        time.sleep(0.02)
    if child.poll() is None:
        child.kill()


def _fail_quietly(held: Held, code: str, detail: str) -> None:
    try:
        outcomes.fail(held, code=code, detail=detail)
    except Fenced:
        pass
    except DatabaseError:
        log.warning("Run %s: the database is away; the reaper will find it.", held.run.pk)


def _rest_quietly(held: Held, away: storage.Away) -> None:
    """Nothing can be fetched: the run is tried again in a minute, here or elsewhere."""
    try:
        outcomes.rest(held, away.detail)
    except Fenced:
        pass
    except DatabaseError:
        log.warning("Run %s: the database is away; the reaper will find it.", held.run.pk)


def _enter(capacity: int) -> bool:
    global _busy
    with _slots:
        if _busy >= capacity:
            return False
        _busy += 1
        return True


def _leave() -> None:
    global _busy
    with _slots:
        _busy -= 1
