"""The stored parts of the inference log by days: which days may hold rows that are asked for, and
their files, opened and verified."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import IO

from distillhub.lib import storage
from distillhub.lib.errors import Missing, Unavailable
from training.models import InferencePart, Monitor

Kind = InferencePart.Kind

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
SLACK = timedelta(seconds=1)  # times of windows were floats once


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which rows: of a window, of a time (`until` is out), with an answer, `wrong` by their label,
    `disagreeing` with the teacher, of a slice of the monitor, holding `q` in their input."""

    window: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    prediction: str = ""
    wrong: bool = False
    disagreeing: bool = False
    slice: str = ""
    q: str = ""


@dataclass(slots=True)
class Day:
    """What there is of a day."""

    day: date
    rows: list[InferencePart]
    said: list[InferencePart]
    files: dict[str, IO[bytes]] = field(default_factory=dict)


def listed(monitor: Monitor, asked: Asked, before: tuple[int, int] | None) -> Iterator[Day]:
    """Days that may hold rows asked for, the newest first."""
    since, until = asked.since, asked.until
    if asked.window is not None:
        first, last = _times_of(monitor, asked.window)
        since = max(filter(None, (since, first)), default=None)
        until = min(filter(None, (until, last)), default=None)
    if before is not None:
        edge = EPOCH + (before[0] + 1) * MICROSECOND
        until = min(until, edge) if until else edge
    kept = monitor.parts.exclude(kind=Kind.INDEX)
    if since is not None:
        kept = kept.filter(day__gte=since.astimezone(UTC).date())
    if until is not None:
        kept = kept.filter(day__lte=until.astimezone(UTC).date())
    days: dict[date, Day] = {}
    for one in kept.order_by("-day", "pk"):
        day = days.setdefault(one.day, Day(one.day, [], []))
        if one.kind == Kind.SAID:
            day.said.append(one)
        elif not (since and one.last_at and one.last_at < since) and not (
            until and one.first_at and one.first_at >= until
        ):
            day.rows.append(one)
    yield from (one for one in days.values() if one.rows)


def _times_of(monitor: Monitor, window: int) -> tuple[datetime | None, datetime | None]:
    if monitor.window_hours:
        size = timedelta(hours=monitor.window_hours)
        try:
            return EPOCH + window * size, EPOCH + (window + 1) * size
        except OverflowError:
            raise Missing(f"There is no window {window}.") from None
    found = monitor.windows.filter(number=window).values_list("starts_at", "ends_at").first()
    # Of rows, the last stands at the end itself.
    return (None, None) if found is None else (found[0] - SLACK, found[1] + SLACK)


def first(monitor: Monitor) -> date:
    days = monitor.parts.filter(kind=Kind.ROWS).order_by("day").values_list("day", flat=True)
    return days.first() or date.max


@contextmanager
def opened(days: Day) -> Iterator[None]:
    with ExitStack() as stack:
        for one in (*days.rows, *days.said):
            if one.sha256 not in days.files:
                days.files[one.sha256] = stack.enter_context(open_part(one))
        yield


def open_part(part: InferencePart) -> IO[bytes]:
    try:
        return storage.open_blob(part.sha256)
    except storage.Damaged as error:
        raise Unavailable(f"Rows of {part.day} cannot be read: {error}") from None
