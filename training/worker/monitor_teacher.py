"""Whom a monitor asks, how many rows of a day that was, and what a service said of its reference.

    told(monitor)           what a look's child must know of it
    keep(...)               what a look asked, and rows that a service is to be asked about
    ask_canaries()          once a day, of every monitor whose teacher is a service

Rows for a service wait as a TeacherQuestion, which teacher_questions.py answers. Keys of services
are in no job's folder: children ask none.
"""

import zlib
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.db import transaction
from django.db.models import Case, F, Value, When
from django.utils import timezone

from training.models import Monitor, TeacherQuestion
from training.worker import dispatch

JSON = dict[str, Any]
Kind = TeacherQuestion.Kind
Status = TeacherQuestion.Status

QUESTIONS = "questions.jsonl"  # as engine/watching/asking.py writes it
DAILY = 50  # canaries that are asked again each day
DAY = timedelta(hours=24)
AFTER_FAILURE = timedelta(hours=1)
KEPT = timedelta(days=7)  # rows that were asked about are told of
MOST_CHECKS = 60  # days of canaries that windows are told of
SENT = (Monitor.Privacy.RAW, Monitor.Privacy.REDACTED)


def is_service(monitor: Monitor) -> bool:
    """Whether its teacher is asked over HTTP, and may be sent what comes in."""
    return monitor.teacher is not None and monitor.teacher.is_asked and monitor.privacy in SENT


def asked_today(monitor: Monitor) -> int:
    """Rows, canaries among them, of this day (UTC)."""
    return monitor.asked if monitor.asked_on == timezone.now().date() else 0


def is_spent(monitor: Monitor) -> bool:
    """Whether the teacher is asked about no further row until the day (UTC) is over."""
    asks = monitor.teacher_id is not None and monitor.teacher_share > 0
    return asks and asked_today(monitor) >= monitor.teacher_daily


def told(monitor: Monitor) -> JSON:
    """Keys of a look's `config.json`."""
    found: JSON = {"asks": is_service(monitor), "asked_today": asked_today(monitor)}
    if found["asks"]:
        known = list(checked(monitor))
        found["canaries"] = checks(known)
        if known:
            found["said_of_reference"] = {"answers": known[0].answers["first"]}
    return found


def keep(monitor: Monitor, result: Mapping[str, Any], folder: Path) -> None:
    """Within the transaction that takes a look's result."""
    asked = int(result.get("asked") or 0)
    if not asked:
        return
    count(monitor, asked)
    path = folder / "output" / QUESTIONS
    if path.is_file() and monitor.teacher is not None:
        body = zlib.compress(path.read_bytes())
        begin(monitor, Kind.ROWS, rows=asked, body=body)


def count(monitor: Monitor, rows: int) -> None:
    """Rows that were asked about, or will be."""
    today = timezone.now().date()
    before = Case(When(asked_on=today, then=F("asked")), default=Value(0))
    Monitor.objects.filter(pk=monitor.pk).update(asked=before + rows, asked_on=today)


def begin(monitor: Monitor, kind: str, *, rows: int, body: bytes = b"") -> TeacherQuestion:
    assert monitor.teacher is not None
    made = TeacherQuestion.objects.create(
        monitor=monitor,
        kind=kind,
        version=monitor.teacher,
        rows=rows,
        body=body,
        created_by_id=monitor.created_by_id,
    )
    call = partial(dispatch.call, "training.ask_for_monitor", question_id=made.pk)
    transaction.on_commit(call, robust=True)
    return made


def forget_old() -> None:
    """What was asked long ago; of canaries the first asking of a reference stays."""
    over = TeacherQuestion.objects.filter(status__in=(Status.READY, Status.FAILED))
    since = timezone.now() - KEPT
    over.filter(kind=Kind.ROWS, created_at__lt=since).delete()
    first = over.filter(kind=Kind.CANARIES, status=Status.READY).exclude(answers__first={})
    canaries = over.filter(kind=Kind.CANARIES, created_at__lt=since - MOST_CHECKS * DAY)
    canaries.exclude(pk__in=first.values("pk")).delete()


# -- canaries -------------------------------------------------------------------------------------


def ask_canaries() -> None:
    """Begin those that are due. Harmless to repeat."""
    services = Monitor.objects.watching().filter(
        teacher__source__kind="api", reference__isnull=False, privacy__in=SENT
    )
    for monitor in services.select_related("teacher"):
        ids = (monitor.reference or {}).get("canaries") or []
        if not ids or not _is_due(monitor):
            continue
        first = not checked(monitor).exists()
        rows = len(ids) + min(DAILY, len(ids)) if first else min(DAILY, len(ids))
        with transaction.atomic():
            Monitor.objects.select_for_update().get(pk=monitor.pk)
            if _is_due(monitor):
                begin(monitor, Kind.CANARIES, rows=rows)
                count(monitor, rows)


def checks(asked: list[TeacherQuestion]) -> list[JSON]:
    """As engine/watching/canaries.py reads them, oldest first: the first is how often a service
    says the same when it is asked twice in a row."""
    found: list[JSON] = []
    first: Mapping[str, str] = asked[0].answers["first"] if asked else {}
    for one in asked:
        now = one.answers["again"]
        both = [identity for identity in now if identity in first]
        same = sum(now[identity] == first[identity] for identity in both)
        at = one.finished_at or one.created_at
        found.append({"at": at.timestamp(), "rows": len(both), "same": same})
    return found[:1] + found[1:][-MOST_CHECKS:]


def checked(monitor: Monitor) -> Any:
    """Askings of canaries since the reference was fitted, of the teacher of today."""
    asked = monitor.questions.filter(
        kind=Kind.CANARIES, status=Status.READY, version=monitor.teacher_id
    )
    if monitor.fitted_at is not None:
        asked = asked.filter(created_at__gte=monitor.fitted_at)
    return asked.order_by("pk")


def _is_due(monitor: Monitor) -> bool:
    asked = monitor.questions.filter(kind=Kind.CANARIES, version=monitor.teacher_id)
    newest = asked.filter(created_at__gte=monitor.fitted_at).order_by("-pk").first()
    if newest is None:
        return not asked.filter(status__in=(Status.QUEUED, Status.WORKING)).exists()
    if not newest.is_final:
        return False
    rest = DAY if newest.status == Status.READY else AFTER_FAILURE
    return newest.created_at < timezone.now() - rest
