"""When the alarm rings: the state of each signal's alert, from what window after window said.

A window speaks against a signal where its p, corrected for all signals of the monitor, is below a
level AND its effect is worth acting on. One such window is chance often enough, so an alert opens
by two of three and closes after three clean ones; between, it neither rings nor falls silent at
each window that crosses a line. Pure and deterministic: the same windows in the same order give
the same states, and a state is plain JSON that stands in a row between two windows.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from training.engine.options import option

OK, PENDING, FIRING, RECOVERING = "ok", "pending", "firing", "recovering"
NO_DATA, MUTED = "no_data", "muted"
STATES = (OK, PENDING, FIRING, RECOVERING, NO_DATA, MUTED)
SEVERITIES = ("notice", "serious", "critical")


@dataclass(frozen=True, slots=True)
class Rules:
    """When a signal's alert opens and closes. The three effects are in the detector's own unit:
    those given here suit the population stability index."""

    level: float = option(
        0.001,
        minimum=1e-9,
        maximum=0.5,
        help="A window counts where its p, corrected for all signals, is at most this.",
    )
    worth: float = option(
        0.02, minimum=0.0, maximum=1e9, help="The least effect that is worth acting on: a notice."
    )
    serious: float = option(0.1, minimum=0.0, maximum=1e9, help="From here on it is serious.")
    critical: float = option(0.25, minimum=0.0, maximum=1e9, help="From here on it is critical.")
    opens: int = option(2, minimum=1, maximum=100, help="Windows beyond that open the alert.")
    among: int = option(3, minimum=1, maximum=100, help="Of how many windows these must be.")
    closes: int = option(3, minimum=1, maximum=100, help="Clean windows that close it again.")


# Of effects that are a drop of a share: agreement, accuracy.
SHARES = Rules(worth=0.02, serious=0.05, critical=0.1)
# Of a detector that follows a stream, which rings once for a change and is sure by itself: p is 0
# in the window in which it rang and 1 in others, the effect is how far the mean rose.
STREAMS = Rules(worth=0.0, serious=0.05, critical=0.1, opens=1, among=1)


class Reading(NamedTuple):
    """What one window said of one signal: `p` corrected for all signals of the monitor, from 0 to
    1, and an effect that is the greater the worse. None, or not a number: it said nothing."""

    p: float | None
    effect: float | None


@dataclass(frozen=True, slots=True)
class Alert:
    """`recent` holds of the last windows that said anything, newest last, when each ended if it
    was beyond the limits and None if it was clean. `since` is the first that spoke against the
    signal, `opened` the one that opened the alert (both None while it is closed). Times are of the
    caller's choice, such as seconds, and only have to grow."""

    state: str = OK
    recent: tuple[float | None, ...] = ()
    clean: int = 0  # windows in a row
    since: float | None = None
    opened: float | None = None
    severity: str | None = None  # the worst while it is open
    muted_until: float | None = None
    at: float | None = None  # when the last window ended

    @property
    def open(self) -> bool:
        """Also while it is muted or has no data."""
        return self.opened is not None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"recent": list(self.recent)}

    @classmethod
    def from_dict(cls, kept: Mapping[str, Any]) -> "Alert":
        return cls(**{**kept, "recent": tuple(kept["recent"])})


def mute(alert: Alert, until: float) -> Alert:
    """Silent for windows that end by then; it goes on counting, and rings after if there is
    cause."""
    return replace(alert, state=MUTED, muted_until=until)


def step(alert: Alert, reading: Reading | None, at: float, rules: Rules) -> Alert:
    """The alert after a window that ended `at`. A window that says nothing neither opens nor
    closes. Raises ValueError for a window that is not later than the last."""
    if alert.at is not None and at <= alert.at:
        raise ValueError(f"The window that ended at {at} comes after the one of {alert.at}.")
    muted = alert.muted_until is not None and at <= alert.muted_until
    alert = replace(alert, at=at, muted_until=alert.muted_until if muted else None)
    said = _numbers(reading)
    if said is None:
        return replace(alert, state=MUTED if muted else NO_DATA)
    p, effect = said
    beyond = p <= rules.level and effect >= rules.worth
    recent = (*alert.recent, at if beyond else None)[-rules.among :]
    alert = replace(alert, recent=recent, clean=0 if beyond else alert.clean + 1)
    if alert.open:
        alert = _while_open(alert, effect, rules)
    else:
        alert = _while_closed(alert, effect, rules, muted=muted)
    return replace(alert, state=MUTED) if muted else alert


def _while_open(alert: Alert, effect: float, rules: Rules) -> Alert:
    if alert.clean >= rules.closes:
        return replace(alert, state=OK, recent=(), since=None, opened=None, severity=None)
    if alert.clean:
        return replace(alert, state=RECOVERING)
    return replace(alert, state=FIRING, severity=_worse(alert.severity, severity(effect, rules)))


def _while_closed(alert: Alert, effect: float, rules: Rules, *, muted: bool) -> Alert:
    against = [one for one in alert.recent if one is not None]
    if not against:
        return replace(alert, state=OK)
    # The newest must be one of them: what was beyond while it was muted does not ring later.
    if muted or alert.clean or len(against) < rules.opens:
        return replace(alert, state=PENDING)
    return replace(
        alert,
        state=FIRING,
        since=against[0],
        opened=alert.at,
        severity=severity(effect, rules),
    )


def severity(effect: float, rules: Rules) -> str:
    """How bad an effect is; what is not worth acting on is a notice, too."""
    if effect >= rules.critical:
        return "critical"
    return "serious" if effect >= rules.serious else "notice"


class Digest(NamedTuple):
    """What a window changed, as one message: names of signals, in the order they were given.

    `began` is true where nothing was open before, `over` where nothing is any more. Signals that
    are muted are in none of the lists.
    """

    at: float
    opened: tuple[str, ...]
    worsened: tuple[str, ...]
    closed: tuple[str, ...]
    began: bool
    over: bool
    severity: str | None  # the worst of what is open

    @property
    def worth_saying(self) -> bool:
        return bool(self.opened or self.worsened or self.closed)


def advance(
    alerts: Mapping[str, Alert],
    readings: Mapping[str, Reading | None],
    at: float,
    rules: Mapping[str, Rules],
) -> tuple[dict[str, Alert], Digest]:
    """All alerts of a monitor after a window, and the one message that it is worth.

    A signal without an alert begins one, an alert without a reading has no data, and a signal
    without rules has the default ones. Raises ValueError as `step` does.
    """
    after: dict[str, Alert] = {}
    lists: dict[str, list[str]] = {"opened": [], "worsened": [], "closed": []}
    for name in {**alerts, **readings}:
        before = alerts.get(name, Alert())
        now = step(before, readings.get(name), at, rules.get(name, Rules()))
        after[name] = now
        change = _change(before, now)
        if change and now.state != MUTED:
            lists[change].append(name)
    worst: str | None = None
    for one in after.values():
        worst = _worse(worst, one.severity) if one.open and one.severity else worst
    were, are = any(one.open for one in alerts.values()), any(one.open for one in after.values())
    digest = Digest(
        at=at,
        opened=tuple(lists["opened"]),
        worsened=tuple(lists["worsened"]),
        closed=tuple(lists["closed"]),
        began=are and not were,
        over=were and not are,
        severity=worst,
    )
    return after, digest


def _change(before: Alert, now: Alert) -> str | None:
    if before.open != now.open:
        return "opened" if now.open else "closed"
    if now.severity and before.severity and now.severity != before.severity:
        return "worsened"
    return None


def _numbers(reading: Reading | None) -> tuple[float, float] | None:
    """p and effect, where the window said both."""
    if reading is None or reading.p is None or reading.effect is None:
        return None
    known = not math.isnan(reading.p) and not math.isnan(reading.effect)
    return (reading.p, reading.effect) if known else None


def _worse(one: str | None, other: str) -> str:
    return max(one or other, other, key=SEVERITIES.index)
