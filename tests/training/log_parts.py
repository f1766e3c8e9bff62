"""What waits for a monitor, taken in within this process: the engine's own hands and storage's real
files, without a worker and its child."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from django.utils import timezone

from distillhub.lib import storage
from training.engine.watching import taking
from training.models import InferencePart, Monitor
from training.worker import inference_parts, monitors

READS = {"text-classification": "text", "tabular-classification": "columns"}


class Lent:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def files(self, sha256s: Iterable[str]) -> dict[str, Path | None]:
        return {one: storage.lend(one, self.folder / "given" / one) for one in sha256s}


def take_in(monitor: Monitor, folder: Path) -> taking.Taken:
    """One look, without windows."""
    folder = folder / f"look-{InferencePart.objects.count()}-{timezone.now().timestamp()}"
    folder.mkdir(parents=True)
    config: dict[str, Any] = {
        "now": timezone.now().timestamp(),
        "monitor": monitors._told(monitor)
        | {"input": READS.get(monitor.task, monitor.task.split("-")[0])},
        "model": None,
        "parts": [monitors._part(one) for one in monitor.parts.order_by("day", "pk")],
        "batches": monitors._batches(monitor, folder),
    }
    taken = taking.take(config, folder, Lent(folder))
    made = taking.keep(taken, taken.rows, config, folder)
    inference_parts.keep_blobs(folder)
    monitor.parts.filter(sha256__in=taken.forgotten).delete()
    for one in made:
        blob = storage.put(folder / "output" / one["name"])
        monitor.parts.create(
            kind=one["kind"],
            day=date.fromisoformat(one["day"]),
            rows=one["rows"],
            first_at=_time(one["first_at"]),
            last_at=_time(one["last_at"]),
            sha256=blob.sha256,
            size_bytes=blob.bytes,
        )
    monitor.inbox.filter(pk__in=taken.taken).delete()
    monitor.rows += len(taken.rows)
    monitor.save(update_fields=["rows"])
    return taken


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
