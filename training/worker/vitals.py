"""What a run's processes take of the machine, sampled about every ten seconds: series `system/…`.

These series have no training step. Their step is the second since the run was first taken, by the
database's clock, and always at least one more than the last: it only goes up, over pauses, restarts
and moves to other machines, and the store drops what it has already. Going on from a checkpoint
therefore cuts nothing off them (the machine did work and use energy in the steps that were lost),
and a sample sent again changes nothing. What could not be written waits in the job folder, so that
a worker that dies while the database is away leaves it to the next one.

    system/cpu_percent               of one core: 200 are two cores at work
    system/memory_bytes              resident, of all its processes
    system/memory_free_bytes         of the machine
    system/read_bytes_per_second     from disks
    system/written_bytes_per_second  to disks
    system/watts, system/energy_wh   as training/engine/energy.py counts: RAPL where it may be read,
                                     else CPU time x watts of a core; and each GPU's own power
    system/gpu0/percent, /memory_bytes, /celsius, /watts    of the first of its cards, and so on
"""

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from django.conf import settings
from django.db import transaction
from django.db.models import Max

from training.engine.powercap import WATT_HOUR, Packages
from training.models import MetricSeries
from training.worker import gpus, metrics, registration
from training.worker.claims import Held
from training.worker.gpus import Card

log = logging.getLogger(__name__)

EVERY = 10.0  # seconds between two samples; the first ones come sooner, for short runs
FIRST = 1.0
SPOOL = "system.jsonl"  # in the job folder: what is not written yet
MOST_WAITING = 20_000  # samples: two days without a database
ENERGY = "system/energy_wh"


class Sample(NamedTuple):
    step: int
    time: float  # seconds since the epoch
    values: dict[str, float]


@dataclass(slots=True)
class Used:
    """What a tree of processes has used since it was first looked at; only `memory` falls."""

    cpu: float = 0.0  # seconds
    memory: int = 0
    read: int = 0
    written: int = 0


class Tree:
    """A process and all that it started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.used = Used()
        self._disk: dict[psutil.Process, tuple[int, int]] = {}

    def look(self) -> Used | None:
        """None once it is gone."""
        try:
            root = psutil.Process(self.pid)
            every = [root, *root.children(recursive=True)]
        except psutil.Error:
            return None
        cpu, memory, used = 0.0, 0, self.used
        disk = {}
        for one in every:
            try:
                with one.oneshot():
                    # A child that ended counts in the parent that waited for it.
                    cpu += sum(one.cpu_times()[:4])
                    memory += one.memory_info().rss
                    counted = one.io_counters()
            except psutil.Error:
                continue
            disk[one] = counted.read_bytes, counted.write_bytes
            before = self._disk.get(one, (0, 0))
            used.read += max(0, counted.read_bytes - before[0])
            used.written += max(0, counted.write_bytes - before[1])
        if not memory:  # a zombie
            return None
        self._disk = disk
        used.cpu, used.memory = max(used.cpu, cpu), memory
        return used


class Energy:
    """Joules of a run's processes, as the engine's Meter counts its own."""

    def __init__(self, packages: Packages, watts_per_core: float, joules: float = 0.0) -> None:
        """`joules` were used before."""
        self.joules = joules
        self._packages, self._watts_per_core = packages, watts_per_core
        self._last = packages.joules()

    def add(self, *, cpu: float, seconds: float, watts: Sequence[tuple[float, float]]) -> float:
        """Count `seconds` in which `cpu` seconds were worked, and each card drew so many watts at
        the beginning and at the end; returns the joules of just these seconds."""
        if self._packages:
            now = self._packages.joules()
            spent, self._last = now - self._last, now
        else:
            spent = cpu * self._watts_per_core
        spent += sum((before + after) / 2 * seconds for before, after in watts)
        self.joules += spent
        return spent


@dataclass(slots=True)
class Vitals:
    """One attempt of a run, watched."""

    held: Held
    folder: Path
    tree: Tree
    cards: list[Card]
    energy: Energy
    step: int = -1  # of the last sample
    waiting: list[Sample] = field(default_factory=list)
    peak: int = 0  # bytes, of all processes together
    _at: float = field(default_factory=time.monotonic)
    _pause: float = FIRST
    _cpu: float = 0.0
    _disk: tuple[int, int] = (0, 0)
    _watts: dict[str, float] = field(default_factory=dict)

    def look(self) -> None:
        """Take a sample where it is time for one."""
        now = time.monotonic()
        seconds = now - self._at
        if seconds < self._pause:
            return
        used = self.tree.look()
        if used is None:
            return
        self._at, self._pause = now, min(EVERY, 2 * self._pause)
        values = self._values(used, seconds)
        at = registration.now()
        run = self.held.run
        since = run.started_at.timestamp() if run.started_at is not None else at
        self.step = max(self.step + 1, int(at - since))
        self._keep(Sample(self.step, at, values))

    def write(self) -> None:
        """Store what waits. Raises claims.Fenced, and DatabaseError when away."""
        if not self.waiting:
            return
        points = [
            metrics.Measured(name, one.step, value, one.time)
            for one in self.waiting
            for name, value in one.values.items()
        ]
        with transaction.atomic():
            self.held.write()
            before = self.held.now().metrics
            self.held.write(metrics=before | metrics.append(self.held.run, points))
        self.waiting = []
        (self.folder / SPOOL).write_bytes(b"")

    def _values(self, used: Used, seconds: float) -> dict[str, float]:
        self.peak = max(self.peak, used.memory)
        cpu, self._cpu = used.cpu - self._cpu, used.cpu
        read, written = used.read - self._disk[0], used.written - self._disk[1]
        self._disk = used.read, used.written
        mine = {card.id for card in self.cards}
        now = {card.id: card for card in gpus.read() if card.id in mine} if mine else {}
        watts = {name: card.watts for name, card in now.items() if card.watts is not None}
        drawn = [(self._watts.get(name, power), power) for name, power in watts.items()]
        self._watts = watts
        spent = self.energy.add(cpu=cpu, seconds=seconds, watts=drawn)
        values = {
            "system/cpu_percent": round(100 * cpu / seconds, 1),
            "system/memory_bytes": float(used.memory),
            "system/memory_free_bytes": float(psutil.virtual_memory().available),
            "system/read_bytes_per_second": round(read / seconds, 1),
            "system/written_bytes_per_second": round(written / seconds, 1),
            "system/watts": round(spent / seconds, 2),
            ENERGY: round(self.energy.joules / WATT_HOUR, 6),
        }
        for place, card in enumerate(self.cards):
            if card.id in now:
                values |= _of_card(f"system/gpu{place}", now[card.id])
        return values

    def _keep(self, sample: Sample) -> None:
        self.waiting.append(sample)
        if len(self.waiting) > MOST_WAITING:
            del self.waiting[0]
        try:
            with (self.folder / SPOOL).open("a") as file:
                file.write(json.dumps(sample._asdict()) + "\n")
        except OSError as error:  # a full disk: the training matters more
            log.warning("%s: a sample of the machine is kept in memory only: %s", self.held, error)


def watch(held: Held, folder: Path, pid: int, cards: Sequence[Card]) -> Vitals:
    """Begin to watch the processes of an attempt; what an earlier one left unwritten waits first.
    Two queries."""
    rows = MetricSeries.objects.filter(run=held.run, name__startswith=metrics.MACHINE)
    known = rows.aggregate(step=Max("last_step"))["step"]
    known_energy = rows.filter(name=ENERGY).values_list("last_value", flat=True).first()
    energy = float(known_energy or 0.0)
    left = _left(folder / SPOOL)
    if left:
        energy = max(energy, left[-1].values.get(ENERGY, 0.0))
    watts = settings.DISTILLHUB_WATTS_PER_CORE or 0.0
    meter = Energy(Packages(), watts, energy * WATT_HOUR)
    last = max(-1 if known is None else known, left[-1].step if left else -1)
    return Vitals(held, folder, Tree(pid), list(cards), meter, step=last, waiting=left)


def _of_card(at: str, card: Card) -> Mapping[str, float]:
    told = {
        f"{at}/percent": card.percent,
        f"{at}/memory_bytes": card.memory_used_bytes,
        f"{at}/celsius": card.celsius,
        f"{at}/watts": card.watts,
    }
    return {name: float(value) for name, value in told.items() if value is not None}


def _left(file: Path) -> list[Sample]:
    """The whole lines of a spool; one that was torn is not there."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    found = []
    for line in lines:
        try:
            told: dict[str, Any] = json.loads(line)
            found.append(Sample(int(told["step"]), float(told["time"]), dict(told["values"])))
        except (ValueError, KeyError, TypeError):
            continue
    return found
