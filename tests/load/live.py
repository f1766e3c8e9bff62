"""Runs that train, without the training: each second their journals grow, and what they tell is
read and recorded as a worker does it.

    python -m tests.load.live FOLDER WORKER RATE RUN...

RATE is how many points a run tells a second. Until SIGTERM; then it prints one line of JSON.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "distillhub.settings")
django.setup()

from django.db import DatabaseError, connection  # noqa: E402

from training.models import MetricSeries, Worker  # noqa: E402
from training.worker import claims, journal, record  # noqa: E402

NAMES = ("train/loss", "train/soft_targets", "val/loss", "val/accuracy")
RENEWED = 10.0  # seconds

stopping = threading.Event()


class Live:
    """One run in training."""

    def __init__(self, run_id: int, worker: Worker, folder: Path) -> None:
        held = claims.claim(run_id, worker)
        assert held is not None, f"run {run_id} is not to be had"
        self.held, self.folder = held, folder / str(run_id)
        self.folder.mkdir()
        self.file = self.folder / "journal.jsonl"
        self.step = 0
        self.slowest = 0.0  # seconds that a batch took to record
        self.busy = 0  # batches that the database was too busy for, at first
        self._say({"type": "stage", "name": "training"})

    def train(self, rate: int) -> None:
        renewed = time.monotonic()
        while not stopping.wait(1.0):
            self.tell(rate)
            self.drain()
            if time.monotonic() - renewed > RENEWED:
                self.held.renew()
                renewed = time.monotonic()
        while not self.drain():
            time.sleep(0.2)
        connection.close()

    def tell(self, rate: int) -> None:
        for _ in range(max(1, rate // len(NAMES))):
            self.step += 1
            values = {name: 1 / (self.step + place) for place, name in enumerate(NAMES)}
            self._say({"type": "measured", "step": self.step, "values": values})
        at = {"step": self.step, "steps": 1_000_000, "fraction": self.step / 1_000_000}
        self._say({"type": "progress", **at, "eta_seconds": 100.0})
        self._say({"type": "logged", "level": "info", "text": f"step {self.step}"})

    def drain(self) -> bool:
        """Record what is not recorded yet; whether that went well."""
        began = time.monotonic()
        try:
            batch = journal.read(self.file, self.held.now().journal_offset)
            record.record(self.held, self.folder, batch)
        except DatabaseError:  # as a worker: it waits in the journal
            self.busy += 1
            connection.close()
            return False
        self.slowest = max(self.slowest, time.monotonic() - began)
        return True

    def lost(self) -> int:
        """Points that were told and are not there, or are there twice."""
        rows = MetricSeries.objects.filter(run=self.held.run)
        there = dict(rows.values_list("name", "count"))
        return sum(abs(there.get(name, 0) - self.step) for name in NAMES)

    def _say(self, event: dict[str, Any]) -> None:
        with self.file.open("a") as out:
            out.write(json.dumps(event | {"at": time.time()}) + "\n")


def main(folder: Path, worker_id: int, rate: int, run_ids: list[int]) -> None:
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.set())
    worker = Worker.objects.get(pk=worker_id)
    lives = [Live(run_id, worker, folder) for run_id in run_ids]
    threads = [threading.Thread(target=one.train, args=[rate]) for one in lives]
    print("ready", flush=True)
    for place, thread in enumerate(threads):
        thread.start()
        time.sleep(place % 5 / 20)  # not all at the same moment
    for thread in threads:
        thread.join()
    told = {
        "points": sum(one.step for one in lives) * len(NAMES),
        "lost": sum(one.lost() for one in lives),
        "slowest": max((one.slowest for one in lives), default=0.0),
        "busy": sum(one.busy for one in lives),
    }
    print(json.dumps(told), flush=True)


if __name__ == "__main__":
    folder, worker_id, rate, *run_ids = sys.argv[1:]
    main(Path(folder), int(worker_id), int(rate), [int(one) for one in run_ids])
