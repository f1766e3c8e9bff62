"""Noticing a training that hangs: it tells nothing, prints nothing, and does no work.

What waits for something that never comes uses no processor, reads and writes nothing, and leaves
its cards idle. Whatever does one of these may be slow (a teacher's pass, a kernel of minutes) and
is let be for BUSY times as long: a loop that never ends looks like a slow step until then.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from django.conf import settings

from distillhub.templatetags import ui
from training.worker import gpus
from training.worker.gpus import Card
from training.worker.vitals import Tree

EVERY = 10.0  # seconds between two looks
BUSY = 12  # times as long may be silent what works
IDLE_SHARE = 0.01  # of one core: threads that only wait use less
IDLE_BYTES = 1 << 20  # read or written
IDLE_PERCENT = 1.0  # of a card


@dataclass(slots=True)
class Watch:
    """One attempt of a run, watched. `limit` in seconds; 0: it may hang.

    Only time that this process has seen pass counts: where machine and training were frozen
    together, nothing was seen to stand still.
    """

    said: Sequence[Path]  # files that grow where it tells or prints
    tree: Tree
    cards: Sequence[Card] = ()
    limit: float = 0.0
    _silent: float = 0.0  # seconds since it last told or printed
    _idle: float = 0.0  # seconds since it last worked
    _sizes: tuple[int, ...] = ()
    _cpu: float = 0.0  # when it last worked
    _bytes: int = 0
    _at: float = field(default_factory=time.monotonic)

    def look(self) -> str:
        """How it hangs, where it does: `for 30 m 00 s it …`. Else nothing."""
        now = time.monotonic()
        every = min(EVERY, self.limit / 10)
        if not self.limit or now - self._at < every:
            return ""
        passed = min(now - self._at, 3 * every)
        self._at = now
        sizes = tuple(_size(path) for path in self.said)
        self._silent = self._silent + passed if sizes == self._sizes else 0.0
        self._idle = 0.0 if self._works() else self._idle + passed
        self._sizes = sizes
        if self._silent >= self.limit <= self._idle:
            long = ui.duration(self._silent)
            return f"for {long} it told nothing, printed nothing and did nothing"
        if self._silent >= BUSY * self.limit:
            return f"for {ui.duration(self._silent)} it was busy and told and printed nothing"
        return ""

    def _works(self) -> bool:
        """Whether it did more than waiting threads do, since it last worked."""
        used = self.tree.look()
        if used is None:
            return True  # it is over
        moved = used.read + used.written
        works = (
            used.cpu - self._cpu > IDLE_SHARE * self.limit
            or moved - self._bytes > IDLE_BYTES
            or self._computes()
        )
        if works:
            self._cpu, self._bytes = used.cpu, moved
        return works

    def _computes(self) -> bool:
        """Whether a card of its is busy; one that it shares may be so for others."""
        mine = {card.id for card in self.cards}
        return any(
            card.id in mine and (card.percent or 0.0) > IDLE_PERCENT
            for card in (gpus.read() if mine else ())
        )


def watch(said: Sequence[Path], tree: Tree, cards: Sequence[Card]) -> Watch:
    return Watch(said, tree, cards, settings.DISTILLHUB_STALL_SECONDS)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
