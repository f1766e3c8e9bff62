"""Looking at what monitors were sent, and at their references: Work of a child process.

    receive (web) --wake_for--> MonitorLook --carry_out--> python -m training.engine watch FOLDER
    reaper        --look_again--^                               |  wants-N.json / given-N.json
                                                                v
    found: one transaction: parts, windows, batches deleted, the monitor's rows; then its alerts

A look that dies at any point leaves its batches where they are, or none of them: the next one takes
them in, and nothing is counted twice. A monitor has one look at a time, so monitors do not wait for
each other; a machine has SEATS, so that they do not take it from trainings.
"""

import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import DatabaseError, connection, transaction
from django.db.models import Exists, F, Max, OuterRef
from django.utils import timezone

from distillhub.lib import leases, storage, told
from distillhub.lib.leases import Fenced, Held
from projects.models import ModelVersion
from training.models import InferenceBatch, InferencePart, Monitor, MonitorLook, MonitorWindow
from training.worker import (
    alerts,
    dispatch,
    folders,
    inference_parts,
    monitor_patience,
    monitor_teacher,
    reference_inputs,
)
from training.worker.work import Columns, Work

log = logging.getLogger(__name__)

JSON = dict[str, Any]

SEATS = 2  # looks that one machine takes at once
MOST_RECOUNTED = 500  # windows that are counted by a new reference
AT_ONCE = 1000  # windows that the database is asked about, or told of
WEEKS = 5  # of windows that tell what traffic is usual
MOST_CLOSED = timedelta(days=7)  # after the last row, windows without one are closed no more
UNDER_WAY = (MonitorLook.Status.QUEUED, MonitorLook.Status.WORKING)


class Watching(Work[MonitorLook]):
    model = MonitorLook
    job, names, verb = dispatch.WATCH, "look_id", "watch"
    related = (
        "monitor__version__model", "monitor__teacher__model", "monitor__project",
        "monitor__dataset_version__dataset",
    )  # fmt: skip
    hours = 6
    seats = SEATS

    def prepare(self, row: MonitorLook, folder: Path) -> Columns:
        monitor = row.monitor
        config: JSON = {
            "format": folders.FORMAT,
            "fits": row.fits,
            "now": timezone.now().timestamp(),
            "threads": settings.DISTILLHUB_RUN_THREADS,
            "monitor": _told(monitor),
            "model": _model(monitor.version, folder, "inputs/model"),
            "teacher": _model(monitor.teacher, folder, "inputs/teacher"),
            **monitor_teacher.told(monitor),
            "parts": [_part(one) for one in monitor.parts.order_by("day", "pk")],
            "batches": [],
            "reference": {},
        }
        if row.fits:
            return config | reference_inputs.place(monitor, folder)
        batches, before = _batches(monitor, folder), _before(monitor)
        # Whoever comes after a look that died or failed goes on from here.
        self._own(
            row,
            report={
                "streams": before["streams"],
                "recounted": before["recounted"],
                "batches": [one["id"] for one in batches],
            },
        )
        return config | {
            "batches": batches,
            "reference": _reference(monitor, folder),
            **before,
        }

    def meanwhile(self, row: MonitorLook, folder: Path) -> None:
        """Give the child what it asked for."""
        for asked in folder.glob("wants-*.json"):
            answer = asked.with_name(asked.name.replace("wants-", "given-"))
            if not answer.exists():
                wanted = folders.read_json(asked)
                folders.write_json(answer, _given(row.monitor, wanted, folder))

    def found(self, row: MonitorLook, result: Mapping[str, Any], folder: Path) -> Columns:
        if row.fits:
            return self._fitted(row, result, folder)
        inference_parts.keep_blobs(folder)
        kept = folders.store_files(result["parts"], folder / "output")
        monitor = row.monitor
        with transaction.atomic():
            self._own(row, rows=result["rows"], report=result["report"])
            monitor.inbox.filter(pk__in=result["taken"]).delete()
            for one in result["refused"]:
                monitor.inbox.filter(pk=one["batch"]).update(error=one["sentence"][:500])
            monitor.parts.filter(sha256__in=result["replaced"]).delete()
            _keep_parts(monitor, result["parts"], kept)
            _keep_windows(monitor, result["windows"], folder)
            _count_rows(monitor, result)
            monitor_teacher.keep(monitor, result, folder)
        return {}

    def _fitted(self, row: MonitorLook, result: Mapping[str, Any], folder: Path) -> Columns:
        files = folders.store_files(result["files"], folder / "output")
        with transaction.atomic():
            self._own(row)
            Monitor.objects.filter(pk=row.monitor_id).update(
                reference=result["reference"], reference_files=files, fitted_at=timezone.now()
            )
            # What came before is counted by it, and not judged until then.
            if row.monitor.windows.filter(judged_at=None, rows__gt=0).exists():
                _begin(row.monitor)
        return {}

    def _own(self, row: MonitorLook, **columns: Any) -> None:
        """The look is still this attempt's, and stays so until the transaction ends."""
        if not self.rows.held(pk=row.pk, attempt=row.attempt).update(
            attempt=row.attempt, **columns
        ):
            raise Fenced(str(row))

    def attempt(self, held: Held[MonitorLook]) -> None:
        super().attempt(held)
        with told.about(monitor=held.row.monitor_id):
            try:
                monitor = Monitor.objects.filter(pk=held.row.monitor_id).first()
                if monitor is not None:
                    _afterwards(monitor, held.row)
            except DatabaseError as error:
                log.warning("What follows a look is done later: the database is away. %s", error)
                connection.close()
            except Exception:  # what a monitor holds was chosen by people
                log.exception("What follows a look met a surprise.")


WORK = Watching()


def wake_for(monitor: Monitor) -> None:
    """Have a worker look at what this monitor was sent, unless one does or it has just been done:
    then the reaper is called when it has rested. Call it once what was sent is committed."""
    if monitor.looks.filter(fits=False, status__in=UNDER_WAY).exists():
        return
    rest = (monitor_patience.rests_until(monitor) - timezone.now()).total_seconds()
    if rest <= 0:
        _begin(monitor)
    elif rest < monitor_patience.MOST_REST:  # after failures beat is soon enough
        dispatch.call("training.reap", after=rest)


def wake_after_commit(monitor: Monitor) -> None:
    transaction.on_commit(partial(wake_for, monitor), robust=True)


def look_again() -> None:
    """Begin looks that are due: something waits, or a window is over though nothing came. Harmless
    to repeat, and in two processes at once."""
    busy = MonitorLook.objects.filter(monitor=OuterRef("pk"), fits=False, status__in=UNDER_WAY)
    idle = Monitor.objects.exclude(Exists(busy))
    waiting = idle.filter(Exists(InferenceBatch.objects.filter(monitor=OuterRef("pk"))))
    for monitor in [*waiting, *_unclosed(idle.watching())]:
        if monitor_patience.rests_until(monitor) <= timezone.now():
            _begin(monitor)


def _begin(monitor: Monitor) -> None:
    """One look at most is under way: of two that begin one, the second begins nothing."""
    look = MonitorLook(monitor=monitor, created_by_id=monitor.created_by_id)
    MonitorLook.objects.bulk_create([look], ignore_conflicts=True)
    made = monitor.looks.filter(fits=False, status=MonitorLook.Status.QUEUED).first()
    if made is not None:
        WORK.wake(made)


def _unclosed(monitors: Any) -> Iterable[Monitor]:
    """Those of hours whose newest window is not the last that is over."""
    now = timezone.now()
    recent = monitors.filter(
        window_hours__isnull=False, reference__isnull=False, last_row_at__gt=now - MOST_CLOSED
    )
    for monitor in recent.annotate(newest=Max("windows__number")):
        over = (now - timedelta(minutes=monitor.grace_minutes)).timestamp()
        last = int(over // (monitor.window_hours * 3600)) - 1
        if monitor.newest is not None and monitor.newest < last:
            yield monitor


def _afterwards(monitor: Monitor, look: MonitorLook) -> None:
    """Judge what is closed, set aside what cannot be taken in, and go on where much waits."""
    if not look.fits:
        monitor_patience.set_aside(monitor)
        monitor_patience.forget_old(monitor)
        if not _is_behind(monitor):
            alerts.judge(monitor)
            alerts.tell_harm(monitor)
        elif look.status == MonitorLook.Status.READY:
            _begin(monitor)
    if leases.takes_more() and monitor.inbox.exists():
        wake_for(monitor)


def _is_behind(monitor: Monitor) -> bool:
    """Whether a reference was fitted since the last look, and windows wait to be counted by it."""
    fitted = monitor.fitted_at.isoformat() if monitor.fitted_at is not None else None
    if fitted is None or _report(monitor).get("recounted") == fitted:
        return False
    return monitor.windows.filter(judged_at=None, rows__gt=0).exists()


def _report(monitor: Monitor) -> JSON:
    """What the newest look handed on."""
    looks = monitor.looks.filter(fits=False, report__isnull=False).order_by("-pk")
    return looks.values_list("report", flat=True).first() or {}


# -- what a child is given ------------------------------------------------------------------------


def _told(monitor: Monitor) -> JSON:
    names = (
        "task", "labels", "several_labels", "window_rows", "window_hours", "grace_minutes",
        "minimum_rows", "rows",
        "detectors", "correction", "slices", "teacher_share", "teacher_daily", "salt", "privacy",
        "kept_share", "retention_days",
    )  # fmt: skip
    return {name: getattr(monitor, name) for name in names} | {
        "input": reference_inputs.reads(monitor)
    }


def _model(version: ModelVersion | None, folder: Path, path: str) -> JSON | None:
    """Its files, verified; None of one that has none. Raises storage.Damaged."""
    if version is None or not version.has_network or not version.files:
        return None
    folders.place_files(version, folder / path)
    return {"path": path, "name": version.reference, "task": version.model.task}


def _part(one: InferencePart) -> JSON:
    return {
        "kind": one.kind,
        "day": one.day.isoformat(),
        "rows": one.rows,
        "sha256": one.sha256,
        "waits": one.kind == InferencePart.Kind.SAID and one.first_at is None,
    }


def _batches(monitor: Monitor, folder: Path) -> list[JSON]:
    """Those that waited longest, as many as one look takes."""
    (folder / "inbox").mkdir()
    placed: list[JSON] = []
    for one in monitor_patience.due(monitor):
        path = f"inbox/{one.pk}.zlib"
        (folder / path).write_bytes(bytes(one.body))
        placed.append({"id": one.pk, "kind": one.kind, "rows": one.rows, "path": path})
    return placed


def _reference(monitor: Monitor, folder: Path) -> JSON:
    """Raises storage.Damaged."""
    placed: JSON = {}
    for file in monitor.reference_files:
        placed[file["name"]] = f"inputs/reference/{file['name']}"
        storage.local_copy(file["sha256"], folder / placed[file["name"]])
    return placed


def _before(monitor: Monitor) -> JSON:
    """What windows and looks before hand on."""
    windows = monitor.windows.order_by("-number")
    newest = windows.values_list("number", flat=True).first()
    since = timezone.now() - timedelta(weeks=WEEKS)
    history = windows.filter(ends_at__gte=since).values_list(
        "number", "rows", "facts__latency__p95"
    )
    report = _report(monitor)
    fitted = monitor.fitted_at.isoformat() if monitor.fitted_at is not None else None
    unjudged = windows.filter(judged_at=None, rows__gt=0).values_list("number", flat=True)
    return {
        "fitted_at": fitted,
        "recounted": report.get("recounted"),
        "recount": [] if report.get("recounted") == fitted else list(unjudged[:MOST_RECOUNTED]),
        "history": [
            {"number": number, "rows": rows, "p95": p95}
            for number, rows, p95 in reversed(history[: WEEKS * 24 * 7])
        ],
        "newest": newest,
        "judged": monitor.windows.exclude(judged_at=None).aggregate(most=Max("number"))["most"],
        "streams": report.get("streams", {}),
    }


def _given(monitor: Monitor, wanted: Mapping[str, Any], folder: Path) -> JSON:
    numbers = wanted["windows"]
    windows: JSON = {str(number): None for number in numbers}
    (folder / "given").mkdir(exist_ok=True)
    for begin in range(0, len(numbers), AT_ONCE):
        some = monitor.windows.filter(number__in=numbers[begin : begin + AT_ONCE])
        for one in some.defer("scores", "facts", "slices"):
            path = f"given/window-{one.number}.sums"
            (folder / path).write_bytes(bytes(one.sums))
            windows[str(one.number)] = {
                "path": path,
                "rows": one.rows,
                "late_rows": one.late_rows,
                "judged": one.is_judged,
            }
    files: JSON = {}
    for sha256 in wanted["files"]:
        files[sha256] = None
        with suppress(storage.Damaged):
            storage.lend(sha256, folder / "given" / sha256)  # of indexes only pages are read
            files[sha256] = f"given/{sha256}"
    return {"windows": windows, "files": files}


# -- what a child leaves --------------------------------------------------------------------------


def _keep_parts(
    monitor: Monitor, parts: Iterable[Mapping[str, Any]], files: Iterable[Mapping[str, Any]]
) -> None:
    made = [
        InferencePart(
            monitor=monitor,
            kind=part["kind"],
            day=part["day"],
            rows=part["rows"],
            first_at=_time(part["first_at"]),
            last_at=_time(part["last_at"]),
            sha256=file["sha256"],
            size_bytes=file["bytes"],
        )
        for part, file in zip(parts, files, strict=True)
    ]
    InferencePart.objects.bulk_create(made)


def _keep_windows(monitor: Monitor, windows: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """A window that is there takes its new sums; what was said of it by an earlier reference
    stays. Whether it was judged is the alerts' alone."""
    touched = list(windows)
    if not touched:
        return
    first, last = (edge(one["number"] for one in touched) for edge in (min, max))
    there = monitor.windows.filter(number__gte=first, number__lte=last)
    known = dict(there.values_list("number", "pk"))
    fresh = []
    for one in touched:
        columns: JSON = {
            "starts_at": _time(one["starts_at"]),
            "ends_at": _time(one["ends_at"]),
            "rows": one["rows"],
            "late_rows": one["late_rows"],
            "sums": (folder / one["path"]).read_bytes(),
            "facts": one["facts"],
        }
        if one["scores"] is not None:
            columns |= {"scores": one["scores"], "slices": one["slices"]}
        if one["number"] in known:
            MonitorWindow.objects.filter(pk=known[one["number"]]).update(**columns)
        else:
            fresh.append(MonitorWindow(monitor=monitor, number=one["number"], **columns))
    MonitorWindow.objects.bulk_create(fresh, batch_size=AT_ONCE)


def _count_rows(monitor: Monitor, result: Mapping[str, Any]) -> None:
    mine = Monitor.objects.filter(pk=monitor.pk)
    mine.update(rows=F("rows") + result["rows"])
    last = _time(result["last_at"])
    if last is not None and (monitor.last_row_at is None or last > monitor.last_row_at):
        mine.update(last_row_at=last)


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
