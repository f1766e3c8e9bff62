"""From windows to alerts: every closed window of a monitor is judged once, in order.

    judge(monitor)      each closed window in a transaction of its own:
        judged_at       compare-and-set, under the monitor's row lock: who comes second does nothing
        advance         engine/alerting.py, with the monitor's rules and what the detectors said
        SignalAlert     the state of each signal, as the next window finds it
        Incident        opened, told of, closed; one line of its history for each change
        AlertMessage    one digest to each channel, where the window opened the incident, made it
                    worse, showed first harm, or closed it; the rest stands in its history

A process that is killed leaves a window wholly judged or not at all. A window of hours is closed
when its end and the grace are past and what came by then is taken in; one of rows when it is full.
A window that appears after a later one was judged is too late to step alerts: it is only marked.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from distillhub.lib import told
from training.engine import alerting
from training.engine.alerting import Alert, Digest
from training.models import Incident, Monitor, MonitorLook, MonitorWindow, SignalAlert
from training.worker import alert_messages, alert_rules, incident_words, incidents, silence
from training.worker.alert_rules import SILENCE, Said

log = logging.getLogger(__name__)

JSON = dict[str, Any]
UNKNOWN = "unknown"  # of harm
LATELY = 5  # windows whose labels are looked for
AT_A_TIME = 500  # windows of a monitor, so that one with a long past keeps nobody from the others
LEAST_STEP = 0.001  # seconds between the ends of two windows of rows


def judge(monitor: Monitor, *, now: datetime | None = None) -> int:
    """How many windows were judged. Harmless to repeat, and in two processes at once."""
    if not monitor.is_fitted or monitor.is_paused:
        return 0
    for done in range(AT_A_TIME):
        window = next_closed(monitor, now=now or timezone.now())
        if window is None:
            return done
        with transaction.atomic():
            _judge(monitor.pk, window.pk)
    return AT_A_TIME


def tell_harm(monitor: Monitor) -> bool:
    """Labels and answers often come after their window was judged: an incident of which nobody
    knew whether it does harm says so once it is known. Nobody is woken by that."""
    unknown = Incident.objects.open().filter(monitor=monitor, facts__harm=UNKNOWN)
    if not unknown.exists():
        return False
    with transaction.atomic():
        Monitor.objects.select_for_update().get(pk=monitor.pk)
        incident = unknown.first()
        if incident is None:
            return False
        names = incidents.open_signals(incident.signals)
        judged = monitor.windows.filter(judged_at__isnull=False, ends_at__gte=incident.since)
        for window in judged.order_by("-number").defer("sums")[:LATELY]:
            facts = incident_words.facts(monitor, window, names)
            if facts["harm"] != UNKNOWN:
                break
        else:
            return False
        before, incident.facts = incident.sentence, facts
        incident.sentence = incident_words.sentence(
            monitor, since=incident.since, signals=names, facts=facts
        )
        incident.save(update_fields=["facts", "sentence"])
        if incident.sentence != before:
            incidents.tell(incident, "measured", incident.sentence, window=window.number)
        return True


def look_again() -> None:
    """Judge windows that time alone closes, and notice traffic that stopped. A look that goes on
    judges by itself when it is done."""
    at_work = MonitorLook.objects.filter(status__in=["queued", "working"])
    idle = Monitor.objects.watching().exclude(reference=None)
    for monitor in idle.exclude(pk__in=at_work.values("monitor")).order_by("pk"):
        with told.about(monitor=monitor.pk):
            try:
                judge(monitor)
                silence.look(monitor)
            except DatabaseError as error:
                log.warning("Its windows are judged later: the database is away. %s", error)
                connection.close()
            except Exception:  # what a monitor holds was chosen by people
                log.exception("Its windows could not be judged.")
    alert_messages.look_again()


def next_closed(monitor: Monitor, *, now: datetime) -> MonitorWindow | None:
    """The first window that nobody judged, if it is closed."""
    found = monitor.windows.filter(judged_at=None).order_by("number").defer("sums").first()
    if found is None:
        return None
    if monitor.window_rows:
        return found if found.rows >= monitor.window_rows else None
    closed = found.ends_at + timedelta(minutes=monitor.grace_minutes)
    if closed > now or monitor.inbox.filter(received_at__lte=closed).exists():
        return None
    return found


def _judge(monitor_id: int, window_id: int) -> None:
    # Two windows of a monitor are not judged at once, and what people change waits.
    monitor = Monitor.objects.select_for_update().get(pk=monitor_id)
    mine = MonitorWindow.objects.filter(pk=window_id, judged_at=None)
    if not mine.update(judged_at=timezone.now()):
        return
    window = MonitorWindow.objects.defer("sums").get(pk=window_id)
    before = states_of(monitor)
    at = _at(monitor, window, before)
    if at is None:
        return
    said = alert_rules.all_said(monitor, window)
    readings = {name: one.reading if one is not None else None for name, one in said.items()}
    rules = {name: alert_rules.graded(monitor, name) for name in {**before, **readings}}
    after, digest = alerting.advance(before, readings, at, rules)
    keep(monitor, after)
    MonitorWindow.objects.filter(pk=window_id).update(severity=digest.severity or "")
    _incident(monitor, window, after, said, digest)


def states_of(monitor: Monitor) -> dict[str, Alert]:
    """Of signals of windows: all but silence."""
    rows = SignalAlert.objects.filter(monitor=monitor).exclude(signal=SILENCE)
    return {row.signal: Alert.from_dict(row.kept) if row.kept else Alert() for row in rows}


def quiet_state(alert: Alert) -> str:
    """Of one that is not muted (any more), by what it counted."""
    if alert.open:
        return alerting.RECOVERING if alert.clean else alerting.FIRING
    return alerting.PENDING if any(one is not None for one in alert.recent) else alerting.OK


def keep(monitor: Monitor, alerts: Mapping[str, Alert]) -> None:
    rows = [
        SignalAlert(
            monitor=monitor,
            signal=name,
            state=alert.state,
            severity=alert.severity or "",
            kept=alert.as_dict(),
        )
        for name, alert in alerts.items()
    ]
    SignalAlert.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["monitor", "signal"],
        update_fields=["state", "severity", "kept", "changed_at"],
    )


def _at(monitor: Monitor, window: MonitorWindow, before: Mapping[str, Alert]) -> float | None:
    """When the window ended, in seconds that only grow; None: a later one was judged before."""
    last = max((one.at for one in before.values() if one.at is not None), default=None)
    ended = window.ends_at.timestamp()
    if last is None or ended > last:
        return ended
    # Windows of rows end in the order of their numbers, whatever times their rows say.
    return last + LEAST_STEP if monitor.window_rows else None


def _incident(
    monitor: Monitor,
    window: MonitorWindow,
    alerts: Mapping[str, Alert],
    said: Mapping[str, Said | None],
    digest: Digest,
) -> None:
    """What the window changed of the monitor's incident, as one message."""
    incident = incidents.open_of(monitor)
    if incident is None:
        if digest.opened:
            _begin(monitor, window, alerts, said, digest)
        return
    signals = incidents.signals_now(incident.signals, alerts, said, window.ends_at)
    known = {str(one["signal"]) for one in incident.signals}
    open_now = incidents.open_signals(signals)
    if open_now == incidents.open_signals(incident.signals) and not digest.worth_saying:
        Incident.objects.filter(pk=incident.pk).update(signals=signals)
        return
    harmed, before = _is_harmed(incident), incident.severity
    incident.signals = signals
    incident.severity = incidents.worst(before, digest.severity)
    entries = {str(one["signal"]): one for one in signals}
    lines = [
        f"{said_so}: {incident_words.enumerated(names)}."
        for said_so, again in (("Moved too", False), ("Moved again", True))
        if (
            names := [
                f"{incident_words.called(name)} ({incident_words.score_words(entries[name])})"
                for name in digest.opened
                if (name in known) == again
            ]
        )
    ]
    lines += [
        f"{_capital(incident_words.called(name))} got worse: {alerts[name].severity}."
        for name in digest.worsened
    ]
    if digest.closed:
        names = [incident_words.called(name) for name in digest.closed]
        lines.append(f"As before again: {incident_words.enumerated(names)}.")
    if not open_now:
        incident.closed_at = timezone.now()
        incident.save(update_fields=["signals", "severity", "closed_at"])
        when = incident_words.moment(window.ends_at, monitor)
        lines.append(f"Closed: every signal is as before, at the window that ended {when}.")
        kind = "closed"
    else:
        if digest.opened or digest.worsened:
            incident.facts = incident_words.facts(monitor, window, open_now)
            incident.sentence = incident_words.sentence(
                monitor, since=incident.since, signals=open_now, facts=incident.facts
            )
        incident.save(update_fields=["signals", "severity", "facts", "sentence"])
        kind = "worsened" if digest.opened or digest.worsened else "recovering"
    if not lines:
        return
    text = incident_words.cut(" ".join(lines), 5000)
    incidents.tell(
        incident,
        kind,
        text,
        window=window.number,
        opened=list(digest.opened),
        worsened=list(digest.worsened),
        closed=list(digest.closed),
    )
    if kind == "closed":
        alert_messages.about(incident, kind, text, key=f"window-{window.pk}")
    elif incident.severity != before or (_is_harmed(incident) and not harmed):
        whole = f"{text} {incident.sentence}"
        alert_messages.about(incident, kind, whole, key=f"window-{window.pk}")


def _is_harmed(incident: Incident) -> bool:
    """Whether a signal is open by which harm is seen."""
    names = incidents.open_signals(incident.signals)
    return any(alert_rules.kind_of(one) in incident_words.HARMFUL for one in names)


def _begin(
    monitor: Monitor,
    window: MonitorWindow,
    alerts: Mapping[str, Alert],
    said: Mapping[str, Said | None],
    digest: Digest,
) -> None:
    signals = incidents.signals_now([], alerts, said, window.ends_at)
    names = incidents.open_signals(signals)
    begun = min(one.since for one in alerts.values() if one.open and one.since is not None)
    incident = incidents.begin(
        monitor,
        since=datetime.fromtimestamp(begun, UTC),
        severity=digest.severity or alerting.SEVERITIES[0],
        signals=signals,
        facts=incident_words.facts(monitor, window, names),
        window=window,
    )
    opened = list(digest.opened)
    incidents.tell(incident, "opened", incident.sentence, window=window.number, opened=opened)
    alert_messages.about(incident, "opened", incident.sentence, key=f"window-{window.pk}")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
