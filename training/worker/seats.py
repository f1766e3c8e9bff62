"""Which GPUs of this machine a run has.

A run that asks for GPUs has so many to itself. One that asks for none may use a card together with
others like it, the one with the fewest of them, as long as nobody has that card to itself; where
all are taken it trains on the CPU.

A card is held by a lock on a file in the folder of the job folders, so that the workers of one home
do not give away the same card twice, and a dead worker's cards are free at once.
"""

import contextlib
import fcntl
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import psutil

from training.models import Run
from training.worker import gpus, machine
from training.worker.gpus import Card


class Seat(NamedTuple):
    """A run's cards, whether it has them to itself, and the files whose locks hold them."""

    cards: list[Card]
    alone: bool
    files: list[int]


#: Of the runs of this process.
_held: dict[int, Seat] = {}
_one_thread = threading.Lock()


def choose(
    cards: Sequence[Card], wanted: int, shared_by: Mapping[str, int], taken: set[str]
) -> list[Card] | None:
    """Cards for a run, None when there are too few: `wanted` for itself alone, those with the most
    free memory; or, of none wanted, the one that is shared by the fewest, if any may be shared.

    `taken` are the ids of those somebody has alone, `shared_by` how many runs share one.
    """
    free = [card for card in cards if card.id not in taken]
    if not wanted:
        return sorted(free, key=lambda card: (shared_by.get(card.id, 0), -_free(card)))[:1]
    alone = [card for card in free if not shared_by.get(card.id)]
    if len(alone) < wanted:
        return None
    best = sorted(alone, key=lambda card: (-_free(card), card.index))[:wanted]
    return sorted(best, key=lambda card: card.index)


@contextlib.contextmanager
def seat(run: Run) -> Iterator[list[Card] | None]:
    """The cards that a run has inside this block; None when those it needs are not to be had."""
    with _choosing():
        found = _take(run)
    try:
        yield found
    finally:
        taken = _held.pop(run.pk, None)
        for file in taken.files if taken is not None else []:
            os.close(file)


def surroundings(cards: Sequence[Card], *, here: bool | None = None) -> dict[str, str]:
    """What a child is told of its cards. `here`: there are cards on this machine, so that one who
    has none must be told so."""
    if not cards and not (bool(gpus.read()) if here is None else here):
        return {}
    return {
        "CUDA_VISIBLE_DEVICES": ",".join(card.id for card in cards),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def of(run_id: int) -> list[Card]:
    """The cards that a run of this process has."""
    found = _held.get(run_id)
    return list(found.cards) if found is not None else []


def gone(*, memory: int, used: int) -> tuple[int, int]:
    """What a worker's row cannot know: how many cards nobody can have to itself, because other
    workers of this machine hold them or runs share them; and the bytes that other programs took of
    the `memory` for runs, of which runs hold `used`.

    An idle worker's memory is not looked at: what a run will take is an estimate, and it would wait
    for ever.
    """
    with _choosing():
        taken, shared = _in_use()
    alone = {card.id for one in _held.values() if one.alone for card in one.cards}
    cards = len((taken | set(shared)) - alone)
    if not _held or not memory:
        return cards, 0
    return cards, max(0, memory - used - psutil.virtual_memory().available)


def _take(run: Run) -> list[Card] | None:
    cards = gpus.read()
    if not cards:
        return None if run.gpus else []
    taken, shared = _in_use()
    found = choose(cards, run.gpus, shared, taken)
    if found is None:
        return None
    files = [_lock(card, alone=bool(run.gpus)) for card in found]
    _held[run.pk] = Seat(found, bool(run.gpus), [file for file in files if file is not None])
    return found


def _in_use() -> tuple[set[str], dict[str, int]]:
    """Ids of the cards that somebody has alone, whichever process it is; and of those that are
    shared, by how many runs of this one (at least one: others' are not counted)."""
    taken: set[str] = set()
    shared: dict[str, int] = {}
    for card in gpus.read():
        whole = _lock(card, alone=True)
        if whole is not None:
            os.close(whole)
            continue
        part = _lock(card, alone=False)
        if part is None:
            taken.add(card.id)
        else:
            os.close(part)
            ours = sum(card.id in [own.id for own in one.cards] for one in _held.values())
            shared[card.id] = max(1, ours)
    return taken, shared


@contextlib.contextmanager
def _choosing() -> Iterator[None]:
    """One thread of one process of this home looks at the locks at a time."""
    with _one_thread:
        file = os.open(machine.home() / "gpus.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)


def _lock(card: Card, *, alone: bool) -> int | None:
    name = re.sub(r"[^A-Za-z0-9-]", "-", card.id)
    file = os.open(machine.home() / f"gpu-{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    kind = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _free(card: Card) -> int:
    return (card.memory_bytes or 0) - (card.memory_used_bytes or 0)
