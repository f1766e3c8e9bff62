"""The inference log between the inbox and storage: what a look is given of it, what it leaves, and
what may go.

    listed(monitor)              what a look is told of parts; it asks for those it needs
    place_inbox(monitor, folder) batches beside `config.json`
    store(result, folder)        files that a look left, into storage; before the transaction
    settle(monitor, ...)         rows of parts instead of batches, in one transaction
    remove_old()                 parts of days that are past what a monitor keeps
    named_files()                pictures and sounds that rows name, which no table does

Killed at any moment, a look begins again with the same batches: they go with the transaction that
names what became of them, and what was stored without being named is swept a day later.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from django.db.models import Q
from django.utils import timezone

from distillhub.lib import storage
from distillhub.lib.later import Later
from distillhub.lib.leases import Fenced
from training.models import InferenceBatch, InferencePart, Monitor

pq = Later("pyarrow.parquet")
log = logging.getLogger(__name__)

JSON = dict[str, Any]

MOST_ROWS = 100_000  # of the inbox that a look takes
MOST_BATCHES = 2_000
MOST_BYTES = 64 << 20  # as they are kept: compressed
WAITS_DAYS = 30  # that a label waits for its row
BLOBS = "output/blobs"
PICTURES = ("image-classification", "audio-classification")


def listed(monitor: Monitor) -> list[JSON]:
    """`{"kind", "day", "rows", "sha256", "waits"}` of each part, the oldest first. What was said of
    rows that did not come yet waits, and has no times."""
    columns = ("kind", "day", "rows", "sha256", "first_at")
    return [
        {
            "kind": kind,
            "day": day.isoformat(),
            "rows": rows,
            "sha256": sha256,
            "waits": kind == InferencePart.Kind.SAID and first_at is None,
        }
        for kind, day, rows, sha256, first_at in monitor.parts.order_by("pk").values_list(*columns)
    ]


def has_waiting(monitor: Monitor) -> bool:
    return monitor.inbox.exists()


def place_inbox(monitor: Monitor, folder: Path) -> list[JSON]:
    """`{"id", "kind", "rows", "path"}` of the oldest batches, as many as a look takes; whatever is
    left is the next one's."""
    into = folder / "inbox"
    into.mkdir(parents=True, exist_ok=True)
    placed: list[JSON] = []
    rows = size = 0
    for batch in monitor.inbox.order_by("pk").iterator(chunk_size=20):
        rows, size = rows + batch.rows, size + len(batch.body)
        full = rows > MOST_ROWS or size > MOST_BYTES or len(placed) >= MOST_BATCHES
        if placed and full:
            break
        path = into / f"{batch.pk}.z"
        path.write_bytes(batch.body)
        placed.append(
            {
                "id": batch.pk,
                "kind": batch.kind,
                "rows": batch.rows,
                "path": str(path.relative_to(folder)),
            }
        )
    return placed


def store(told: Iterable[Mapping[str, Any]], folder: Path) -> list[JSON]:
    """Keep the parts that a look tells of, and the pictures and sounds that it left; the parts with
    their `sha256`. Raises storage.Away."""
    for path in sorted((folder / BLOBS).glob("*")):
        storage.put(path)
    return [{**one, "sha256": storage.put(folder / "output" / one["name"]).sha256} for one in told]


def settle(
    monitor: Monitor,
    *,
    parts: Sequence[Mapping[str, Any]],
    replaced: Sequence[str],
    batches: Sequence[int],
) -> None:
    """Name the parts, and let go of what they came from. To be called in the transaction that keeps
    all else of a look.

    Raises Fenced when another look has taken these batches, or replaced these parts.
    """
    inbox = InferenceBatch.objects.filter(monitor=monitor, pk__in=batches)
    there = inbox.order_by("pk").select_for_update().values_list("pk", flat=True)
    if len(set(there)) != len(set(batches)):
        raise Fenced
    old = InferencePart.objects.filter(monitor=monitor, sha256__in=replaced)
    gone = old.order_by("pk").select_for_update().values_list("sha256", flat=True)
    if set(gone) != set(replaced):
        raise Fenced
    old.delete()
    InferencePart.objects.bulk_create(
        InferencePart(
            monitor=monitor,
            kind=one["kind"],
            day=date.fromisoformat(one["day"]),
            rows=one["rows"],
            first_at=_moment(one["first_at"]),
            last_at=_moment(one["last_at"]),
            sha256=one["sha256"],
            size_bytes=one["bytes"],
        )
        for one in parts
    )
    inbox.delete()


def remove_old() -> int:
    """Parts of days that are past what their monitor keeps, and what waited too long for its row;
    how many. Their files go with the next sweep of storage."""
    today = timezone.now().date()
    removed = 0
    for monitor in Monitor.objects.filter(parts__isnull=False).distinct():
        first = today - timedelta(days=monitor.retention_days)
        waiting = Q(kind=InferencePart.Kind.SAID, first_at=None)
        old = Q(day__lt=first) | (waiting & Q(day__lt=today - timedelta(days=WAITS_DAYS)))
        removed += monitor.parts.filter(old).delete()[0]
    return removed


def named_files() -> set[bytes]:
    """sha256s of pictures and sounds that rows of parts name: no table does, so that a sweep of
    storage has to be told. Of a damaged part they are as lost as its rows. Raises
    storage.Away."""
    found: set[bytes] = set()
    every = InferencePart.objects.filter(
        kind=InferencePart.Kind.ROWS, monitor__task__in=PICTURES
    ).values_list("sha256", flat=True)
    for sha256 in every.iterator():
        try:
            with storage.open_blob(sha256) as stream:
                file = pq.ParquetFile(stream)
                if "blob" in file.schema_arrow.names:
                    names = file.read(columns=["blob"]).column("blob").to_pylist()
                    found.update(bytes.fromhex(one) for one in names if one is not None)
        except storage.Damaged as error:
            log.warning("A part of the inference log cannot be read: %s", error)
    return found


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
