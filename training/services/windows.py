"""Windows of a monitor: what came in each, what the detectors say of it, and of many as of one.

listed, find        windows as rows, without their sums
series              one signal over windows, to be drawn
merged              hours as days, days as weeks: sums are added and scored anew; no row is read
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django.db.models import QuerySet

from distillhub.lib.errors import Conflict, Invalid, Missing
from distillhub.lib.later import Later
from training.models import Monitor, MonitorWindow
from training.services import window_shapes

if TYPE_CHECKING:
    from training.engine.watching.baseline import Baseline
    from training.engine.watching.windows import Sums

scoring = Later("training.engine.watching.scoring")
told_of = Later("training.engine.watching.facts")
sums_of = Later("training.engine.watching.windows")

JSON = dict[str, Any]

EVERY = {"window": None, "day": 1, "week": 7}  # days that are merged
MOST_MERGED = 750  # windows in one answer: a month of hours, in a few seconds
MOST_GROUPS = 31
MONDAY = datetime(1970, 1, 5, tzinfo=UTC)  # the first one of the clock's count


@dataclass(frozen=True, slots=True)
class Merged:
    """Windows as one. `scores`, `facts` and `slices` are as those of a window; `left` windows count
    in the bins of an earlier reference, and are in facts alone."""

    starts_at: datetime
    ends_at: datetime
    windows: int
    left: int
    rows: int
    scores: JSON
    facts: JSON
    slices: JSON


def listed(
    monitor: Monitor, since: datetime | None = None, until: datetime | None = None
) -> QuerySet[MonitorWindow]:
    """The newest first; those that end after `since` and begin before `until`."""
    found = monitor.windows.defer("sums").order_by("-number")
    if since is not None:
        found = found.filter(ends_at__gt=since)
    if until is not None:
        found = found.filter(starts_at__lt=until)
    return found


def find(monitor: Monitor, number: int) -> MonitorWindow:
    """Raises Missing."""
    found = listed(monitor).filter(number=number).first()
    if found is None:
        raise Missing(f"{monitor.name} has no window {number}.")
    return found


def series(
    monitor: Monitor,
    signal: str,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 1000,
) -> list[JSON]:
    """One point for each detector of each window that asked it, oldest first: `{"number",
    "starts_at", "ends_at", "rows", "severity", "judged", ...}` and what the score says."""
    newest = listed(monitor, since, until).filter(scores__has_key=signal)[:limit]
    return [
        {
            "number": one.number,
            "starts_at": one.starts_at,
            "ends_at": one.ends_at,
            "rows": one.rows,
            "severity": one.severity,
            "judged": one.is_judged,
            **score,
        }
        for one in reversed(newest)
        for score in one.scores[signal]
    ]


def merged(
    monitor: Monitor,
    every: str = "day",
    since: datetime | None = None,
    until: datetime | None = None,
) -> list[Merged]:
    """Days or weeks (by UTC, from Monday), or, `every` being "all", one of everything. The newest
    first. Raises Conflict before a reference is fitted, and Invalid for more than one answer
    holds."""
    baseline = window_shapes.baseline(monitor)
    if baseline is None:
        raise Conflict("Its reference is not there yet, by which windows are merged.")
    found = monitor.windows.filter(rows__gt=0).order_by("-number")
    if since is not None:
        found = found.filter(ends_at__gt=since)
    if until is not None:
        found = found.filter(starts_at__lt=until)
    if found[MOST_MERGED:].exists():
        said = f"More than {MOST_MERGED:,} windows are merged in several goes: say since and until."
        raise Invalid(said, fields={"since": [said]})
    groups: dict[datetime | None, list[MonitorWindow]] = {}
    for one in found.iterator(chunk_size=100):
        groups.setdefault(_group(one.starts_at, every), []).append(one)
    if len(groups) > MOST_GROUPS:
        said = f"At most {MOST_GROUPS} at a time: say since and until, or take weeks."
        raise Invalid(said, fields={"every": [said]})
    return [_merged(monitor, baseline, some) for some in groups.values()]


def _group(at: datetime, every: str) -> datetime | None:
    days = EVERY.get(every)
    if every == "all":
        return None
    if days is None:
        raise Invalid("Merge by day, by week or all.", fields={"every": ["day, week or all."]})
    length = timedelta(days=days)
    return MONDAY + (at - MONDAY) // length * length


def _merged(monitor: Monitor, baseline: Baseline, windows: list[MonitorWindow]) -> Merged:
    parts: list[Sums] = [sums_of.Sums.from_bytes(bytes(one.sums)) for one in windows]
    key = baseline.key
    other = [one.counted > 0 and one.reference != key for one in parts]
    whole: Sums = sums_of.merged(
        [
            one.without_sketches() if is_other else one
            for one, is_other in zip(parts, other, strict=True)
        ]
    )
    asked = scoring.Asked(
        detectors=monitor.detectors,
        correction=monitor.correction,
        minimum_rows=monitor.minimum_rows,
    )
    scores: JSON = scoring.score(whole, baseline, asked)
    for signal in ("volume", "latency"):  # usual of a window, not of a day
        scores.pop(signal, None)
    return Merged(
        starts_at=min(one.starts_at for one in windows),
        ends_at=max(one.ends_at for one in windows),
        windows=len(windows),
        left=sum(other),
        rows=whole.rows,
        scores=scores,
        facts=told_of.of(whole, baseline),
        slices=scoring.slices(whole, baseline, asked),
    )
