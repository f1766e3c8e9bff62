"""The stored parts of the inference log: pictures and sounds beside them, and what may go.

    keep_blobs(folder)    pictures and sounds that a look left, into storage; before it is settled
    remove_old()          parts of days that are past what a monitor keeps
    named_files()         pictures and sounds that rows name, which no table does

What was stored and not named in the end, because a worker was killed, is swept a day later.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from distillhub.lib import storage
from distillhub.lib.later import Later
from projects.services import audit
from training.models import InferenceBatch, InferencePart, Monitor

pq = Later("pyarrow.parquet")
log = logging.getLogger(__name__)

WAITS_DAYS = 30  # that a label waits for its row
ASIDE_DAYS = 7  # that a batch which cannot be taken in is there to be looked at
BLOBS = "output/blobs"
PICTURES = ("image-classification", "audio-classification")


def keep_blobs(folder: Path) -> None:
    """Raises storage.Away."""
    for path in sorted((folder / BLOBS).glob("*")):
        storage.put(path)


def remove_old() -> int:
    """Parts of days that are past what their monitor keeps, and what waited too long for its row;
    how many. Their files go with the next sweep of storage. Batches that were set aside go, too:
    they hold inputs as they were sent."""
    today = timezone.now().date()
    removed = 0
    for monitor in Monitor.objects.filter(parts__isnull=False).distinct():
        first = today - timedelta(days=monitor.retention_days)
        # What was said of rows that did not come has no times (engine/watching/parts.py).
        waiting = Q(kind=InferencePart.Kind.SAID, first_at=None)
        old = Q(day__lt=first) | (waiting & Q(day__lt=today - timedelta(days=WAITS_DAYS)))
        with transaction.atomic():
            days = monitor.parts.filter(day__lt=first).values_list("day", flat=True)
            past = sorted(set(days))
            removed += monitor.parts.filter(old).delete()[0]
            if past:
                audit.record(
                    "inferences.forget",
                    by=None,
                    project=monitor.project,
                    subject=monitor.name,
                    detail={
                        "days": [f"{day:%Y-%m-%d}" for day in past],
                        "why": f"Rows are kept for so many days: {monitor.retention_days}.",
                    },
                )
    aside = InferenceBatch.every.exclude(error="")
    aside.filter(received_at__lt=timezone.now() - timedelta(days=ASIDE_DAYS)).delete()
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
