"""Rows that a monitor was sent, for people to review: added to its dataset, then handed out.

    send        the rows of a window into the next version of its dataset (live_rows.py), and an
                empty review of it
    fill_all    once a worker has made the version; called by beat (retraining/jobs.py)

Reviews are of rows of a dataset, which stay; rows of a monitor go after some days.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from django.db import transaction

from distillhub.lib import storage
from distillhub.lib.later import Later
from projects.ingest.formats import UNLABELLED
from projects.models import DatasetVersion, ReviewQueue, User
from projects.services import datasets, review_rows, reviews
from training.models import Monitor, MonitorWindow
from training.services import live_rows

pq = Later("pyarrow.parquet")
log = logging.getLogger(__name__)

JSON = dict[str, Any]
LONGEST = 500  # characters of an answer that is shown beside a row
USUAL = 100  # rows of a review
HOW = "live"
FROM, ID, ANSWER = "live_monitor", "live_id", "live_answer"  # as operations/live.py writes them


def send(*, monitor: Monitor, window: MonitorWindow, many: int = USUAL, by: User) -> ReviewQueue:
    """A review that is empty until a worker has made its version. Raises Conflict, and Invalid for
    rows that do not fit."""
    with transaction.atomic():
        version = live_rows.collect(monitor=monitor, window=window, by=by)
        is_rated = version.dataset.task in UNLABELLED
        return reviews.make(
            version=version,
            chosen=[],
            told={"how": HOW, "seed": 0, "many": many, "conditions": {}, "monitor": monitor.name},
            name=f"Live rows of {monitor.name}, window {window.number}"[:100],
            kind=ReviewQueue.Kind.RATINGS if is_rated else ReviewQueue.Kind.LABELS,
            by=by,
        )


def fill_all(queues: Iterable[int]) -> None:
    """What retraining/due.py found gets its rows, or goes where there are none. Harmless to repeat,
    and to run in two processes at once."""
    for pk in queues:
        with transaction.atomic():
            found = ReviewQueue.objects.select_for_update(of=("self",)).select_related(
                "version__dataset", "version__parent"
            )
            queue = found.filter(pk=pk).first()
            if queue is not None and not queue.items.exists():
                _fill(queue)


def _fill(queue: ReviewQueue) -> None:
    version, chosen = queue.version, []
    if version.is_ready:
        try:
            chosen = _chosen(version, queue.choice["monitor"])[: queue.choice["many"]]
        except storage.Damaged as error:
            log.warning("Of %s nobody can review rows: %s", version, error)
    if chosen:
        reviews.place(queue, chosen)
    else:  # the page of the version says why it has none
        queue.delete()


def _chosen(version: DatasetVersion, monitor: str) -> list[review_rows.Chosen]:
    """The rows that came with this version, first those whose label is not what the student
    answered."""
    known = {row[ID] for row in _rows(version.parent) if row[ID]} if version.parent else set()
    fresh = [
        row for row in _rows(version) if row[FROM] == monitor and row[ID] and row[ID] not in known
    ]
    fresh.sort(key=lambda row: (-_priority(row), row["row_id"]))
    return [
        review_rows.Chosen(row["row_id"], _priority(row), row["label"], _said(row)) for row in fresh
    ]


def _priority(row: JSON) -> float:
    """2 where somebody contradicts the student, 1 where nobody said anything, else 0."""
    if row["label"] is None:
        return 1.0
    return 2.0 if str(row["label"]) != str(row[ANSWER]) else 0.0


def _said(row: JSON) -> JSON:
    """What stands beside a row."""
    return {} if row[ANSWER] is None else {"student": str(row[ANSWER])[:LONGEST]}


def _rows(version: DatasetVersion) -> list[JSON]:
    names = ["row_id", "label", FROM, ID, ANSWER]
    with datasets.open_file(version=version) as stream:
        file = pq.ParquetFile(stream)
        there = [one for one in names if one in file.schema_arrow.names]
        rows = file.read(columns=there).to_pylist()
    return [dict.fromkeys(names) | row for row in rows]
