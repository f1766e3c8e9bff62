"""How monitors are: one word with its colour, the newest windows, what is open, what came today.

of([monitor, ...]) -> {pk: Health}    six queries, however many monitors
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import F, Sum, Window
from django.db.models.functions import RowNumber
from django.utils import timezone

from training.models import (
    Incident,
    InferenceBatch,
    InferencePart,
    Monitor,
    MonitorLook,
    MonitorWindow,
)
from training.worker import monitor_patience

JSON = dict[str, Any]

STRIP = 24  # windows that a list shows
SILENT = 3  # windows without a row
#: The word of each state, and the colour of its chip.
STATES: dict[str, tuple[str, str]] = {
    "ok": ("healthy", "good"),
    "notice": ("notice", "warn"),
    "serious": ("serious", "warn"),
    "critical": ("critical", "bad"),
    "paused": ("paused", "wait"),
    "fitting": ("taking the reference", "live"),
    "waiting": ("waiting for its reference", "wait"),
    "failed": ("no reference", "bad"),
    "stuck": ("rows wait", "bad"),
    "quiet": ("no rows yet", "wait"),
    "silent": ("nothing comes", "warn"),
    "few": ("too few rows", "wait"),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A window in a strip."""

    number: int
    ends_at: datetime
    rows: int
    tone: str  # good, warn, bad, few, none
    word: str


@dataclass(frozen=True, slots=True)
class Health:
    state: str  # of STATES
    sentence: str
    severity: str  # of the open incident; empty without one
    incident: Incident | None
    last_window: MonitorWindow | None  # without its sums
    rows_today: int  # whose time is of today (UTC), and those that wait to be taken in
    strip: list[Cell] = field(default_factory=list)  # oldest first
    trouble: str = ""  # why what was sent is not taken in, beside whatever else is the matter

    @property
    def word(self) -> str:
        return STATES[self.state][0]

    @property
    def tone(self) -> str:
        return STATES[self.state][1]


def health(monitor: Monitor) -> Health:
    return of([monitor])[monitor.pk]


def of(monitors: Iterable[Monitor]) -> dict[int, Health]:
    every = list(monitors)
    ids = [one.pk for one in every]
    if not ids:
        return {}
    windows = _windows(ids)
    open_ones = Incident.objects.filter(monitor__in=ids, closed_at=None)
    incidents = {one.monitor_id: one for one in open_ones}
    rows = _rows(ids)
    looks: dict[int, MonitorLook] = {}
    for look in MonitorLook.objects.filter(monitor__in=ids, fits=True).order_by("pk"):
        looks[look.monitor_id] = look  # the newest stays
    troubles = monitor_patience.troubles(ids)
    return {
        one.pk: _health(
            one,
            windows.get(one.pk, []),
            incidents.get(one.pk),
            rows.get(one.pk, 0),
            looks.get(one.pk),
            troubles.get(one.pk, ""),
        )
        for one in every
    }


def _health(
    monitor: Monitor,
    windows: list[MonitorWindow],
    incident: Incident | None,
    rows: int,
    look: MonitorLook | None,
    trouble: str,
) -> Health:
    state, sentence = _state(monitor, windows, incident, look)
    if trouble and state in ("ok", "quiet", "silent", "few"):
        state, sentence = "stuck", trouble
    return Health(
        state=state,
        sentence=sentence,
        severity=incident.severity if incident is not None else "",
        incident=incident,
        last_window=windows[-1] if windows else None,
        rows_today=rows,
        strip=[_cell(one, monitor.minimum_rows) for one in windows],
        trouble=trouble,
    )


def _state(
    monitor: Monitor,
    windows: list[MonitorWindow],
    incident: Incident | None,
    look: MonitorLook | None,
) -> tuple[str, str]:
    if monitor.is_paused:
        return "paused", "No window is judged until it is resumed; what is sent is kept."
    if not monitor.is_fitted:
        if look is not None and look.status == MonitorLook.Status.FAILED:
            reason = (look.error or {}).get("detail", "The reference could not be taken.")
            return "failed", str(reason)
        until = monitor.traffic_until
        if look is None and until is not None and until > timezone.now():
            return "waiting", f"What comes until {until:%d %B, %H:%M} UTC tells what is usual."
        if look is None and monitor.version is None and not monitor.external:
            return "failed", "The model that it watched is gone."
        if monitor.external:
            return "fitting", "Its reference is read; windows are judged after."
        return "fitting", "The model answers the rows of the reference; windows are judged after."
    if incident is not None:
        return _severity(incident.severity), incident.sentence
    if not windows and not monitor.rows:
        return "quiet", "Nothing was sent yet."
    newest = [one for one in windows if one.is_judged][-SILENT:]
    if len(newest) == SILENT and not any(one.rows for one in newest):
        return "silent", f"The newest {SILENT} windows had no row."
    if not newest:
        return "ok", "Rows come; no window is over yet."
    if all(one.rows < monitor.minimum_rows for one in newest):
        return (
            "few",
            f"The newest windows have fewer than the {monitor.minimum_rows} rows it takes.",
        )
    return "ok", "Nothing differs from the reference by more than chance allows."


def _severity(said: str) -> str:
    return said if said in ("notice", "serious", "critical") else "notice"


TONES = {"notice": "warn", "serious": "warn", "critical": "bad"}


def _cell(window: MonitorWindow, least: int) -> Cell:
    if window.severity:
        tone, word = TONES.get(window.severity, "warn"), window.severity
    elif not window.is_judged:
        tone, word = "none", "not over"
    elif window.rows < least:
        tone, word = "few", "too few rows" if window.rows else "no rows"
    else:
        tone, word = "good", "healthy"
    return Cell(window.number, window.ends_at, window.rows, tone, word)


def _windows(ids: list[int]) -> dict[int, list[MonitorWindow]]:
    """The newest of each, oldest first, without what is large."""
    place = Window(RowNumber(), partition_by=F("monitor"), order_by=F("number").desc())
    found = (
        MonitorWindow.objects.filter(monitor__in=ids)
        .defer("sums", "scores", "facts", "slices")
        .annotate(place=place)
        .filter(place__lte=STRIP)
        .order_by("number")
    )
    by_monitor: dict[int, list[MonitorWindow]] = {}
    for one in found:
        by_monitor.setdefault(one.monitor_id, []).append(one)
    return by_monitor


def _rows(ids: list[int]) -> dict[int, int]:
    today = timezone.now().date()
    parts = InferencePart.objects.filter(
        monitor__in=ids, kind=InferencePart.Kind.ROWS, day=today
    ).order_by()
    batches = InferenceBatch.objects.filter(
        monitor__in=ids, kind=InferenceBatch.Kind.INFERENCES
    ).order_by()
    counted: dict[int, int] = {}
    for found in (parts, batches):
        for pk, rows in found.values_list("monitor").annotate(total=Sum("rows")):
            counted[pk] = counted.get(pk, 0) + rows
    return counted
