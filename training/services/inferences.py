"""The inference log: what a shipped model answered, sent by whoever serves it.

    receive            rows; idempotent by id, in any order, late
    receive_labels     what turned out to be right, by id, also months later
    receive_teacher    what the teacher says of rows, by id
    forget             rows are removed by id; what they added to windows stays, as sums
    rows, by_ids       what is kept of them (inference_rows.py)

What is sent becomes a batch in the inbox, answered at once. A look of a worker takes all that waits
(worker/monitors.py, engine/watching/taking.py): only there is it known what came before.
"""

import zlib
from typing import Any

from django.db import transaction
from django.db.models import Count, Q, Sum
from django.db.models.functions import Length
from django.utils import timezone

from distillhub.lib.errors import DomainError, Missing
from projects.models import Project, User
from training.models import InferenceBatch, Monitor
from training.services import inference_records as records
from training.services.inference_days import Asked
from training.services.inference_rows import Page, by_ids, rows
from training.worker import monitors

__all__ = [
    "Asked", "Busy", "Page", "by_ids", "count_waiting", "find_monitor", "forget",
    "receive", "receive_labels", "receive_teacher", "rows",
]  # fmt: skip

Kind = InferenceBatch.Kind
MOST_WAITING_ROWS = 500_000
MOST_WAITING_BATCHES = 5_000
MOST_WAITING_BYTES = 256 << 20  # as they are kept: compressed
QUICK = 1  # of zlib's levels: the caller waits


class Busy(DomainError):
    """More waits than workers have taken in."""

    status, code = 429, "busy"
    retry_after = 15


def find_monitor(*, project: Project, name: str) -> Monitor:
    """Raises Missing."""
    found = Monitor.objects.filter(project=project, name__iexact=name).first()
    if found is None:
        raise Missing(f"There is no monitor {name} in this project.")
    return found


def receive(*, monitor: Monitor, records_sent: Any, by: User) -> int:
    """Keep rows to be taken in; how many. Raises Invalid, TooLarge and Busy."""
    reader = records.Reader(monitor, timezone.now())
    return _keep(
        monitor, Kind.INFERENCES, records.lines(records_sent, "inferences", reader.inference)
    )


def receive_labels(*, monitor: Monitor, labels: Any, by: User) -> int:
    """Raises Invalid, TooLarge and Busy."""
    reader = records.Reader(monitor, timezone.now())
    return _keep(monitor, Kind.LABELS, records.lines(labels, "labels", reader.late_label))


def receive_teacher(*, monitor: Monitor, answers: Any, by: User | None) -> int:
    """Raises Invalid, TooLarge and Busy."""
    reader = records.Reader(monitor, timezone.now())
    return _keep(monitor, Kind.TEACHER, records.lines(answers, "answers", reader.teacher_answer))


def forget(*, monitor: Monitor, ids: Any, by: User) -> int:
    """Have rows removed. That a person may ask for, so it has room of its own, however many rows
    wait. Raises Invalid, TooLarge and Busy."""
    return _keep(monitor, Kind.FORGET, records.identities(ids))


def count_waiting(monitor: Monitor) -> int:
    """Rows that are not taken in yet; labels and answers of others wait beside them."""
    found = monitor.inbox.filter(kind=Kind.INFERENCES).aggregate(rows=Sum("rows"))
    return int(found["rows"] or 0)


def _keep(monitor: Monitor, kind: Kind, lines: list[bytes]) -> int:
    forgets = Q(kind=Kind.FORGET)
    beside = forgets if kind == Kind.FORGET else ~forgets  # what shares its room
    waiting = monitor.inbox.aggregate(
        all=Count("pk"),
        rows=Sum("rows", filter=beside),
        batches=Count("pk", filter=beside),
        bytes=Sum(Length("body"), filter=beside),
    )
    rows = waiting["rows"] or 0
    if (
        rows + len(lines) > MOST_WAITING_ROWS
        or waiting["batches"] >= MOST_WAITING_BATCHES
        or (waiting["bytes"] or 0) > MOST_WAITING_BYTES
    ):
        what = "ids wait to be forgotten" if kind == Kind.FORGET else "rows wait to be taken in"
        raise Busy(f"{rows:,} {what} by a worker; send these again later.")
    body = zlib.compress(b"\n".join(lines), QUICK)
    with transaction.atomic():
        InferenceBatch.objects.create(monitor=monitor, kind=kind, rows=len(lines), body=body)
        if not waiting["all"]:  # else somebody was called already
            monitors.wake_after_commit(monitor)
    return len(lines)
