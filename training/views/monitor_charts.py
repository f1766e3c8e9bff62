"""Charts of a monitor over the windows of a stretch, from their columns."""

from collections.abc import Iterable, Sequence
from typing import Any

from django.utils.dateparse import parse_datetime

from training.charts import drift, drift_series
from training.charts.drift import At
from training.charts.drift_series import Share
from training.models import Incident, Monitor, MonitorWindow
from training.services import monitor_words, signals
from training.services.signals import Signal
from training.views.monitor_parts import Stretch

JSON = dict[str, Any]

HALF_AN_HOUR = 1_800_000  # milliseconds
LINE = 19  # pixels of a signal in the picture of all


def strip(monitor: Monitor, found: Stretch, told: Sequence[Signal]) -> JSON:
    shown = [one for one in told if any(level is not None for level in one.levels)]
    return _chart(
        "monitor-health",
        "What moves",
        drift.health(
            found.places,
            [(one.words, one.levels) for one in shown],
            by_hours=monitor.window_hours is not None,
        ),
        note="a click on a window opens it",
        height=70 + LINE * max(4, len(shown)),
    )


def volume(monitor: Monitor, found: Stretch) -> JSON:
    windows = found.windows
    if monitor.window_hours is None:
        hours = [(one.ends_at - one.starts_at).total_seconds() / 3600 for one in windows]
        hourly = [
            one.rows / length if length > 0 else None
            for one, length in zip(windows, hours, strict=True)
        ]
        return _chart("monitor-volume", "Volume", drift_series.pace(found.places, hourly))
    drawn = drift_series.volume(
        found.places,
        [max(0, one.rows) for one in windows],
        [min(one.rows, one.late_rows) for one in windows],
    )
    return _chart("monitor-volume", "Volume", drawn, note="rows of each window")


def latency(found: Stretch) -> JSON:
    told = [one.facts.get("latency") or {} for one in found.windows]
    return _chart("monitor-latency", "Latency", drift_series.latency(found.places, told))


def confidence(monitor: Monitor, found: Stretch) -> JSON:
    told = [one.facts.get("confidence") or {} for one in found.windows]
    before = reference_of(monitor, "confidence", "mean")
    return _chart(
        "monitor-confidence", "Confidence", drift_series.confidence(found.places, told, before)
    )


def agreement(monitor: Monitor, found: Stretch) -> JSON:
    drawn = drift_series.agreement(
        shares(found, "agreement"), reference_of(monitor, "agreement", "value")
    )
    return _chart("monitor-agreement", "Agreement with the teacher", drawn)


def accuracy(monitor: Monitor, found: Stretch) -> JSON:
    estimated = shares(found, "estimated_accuracy")
    drawn = drift_series.accuracy(
        shares(found, "accuracy"), estimated, reference_of(monitor, "accuracy", "value")
    )
    caveat = monitor_words.CAVEAT if estimated else ""
    return _chart("monitor-accuracy", "Accuracy", drawn) | {"caveat": caveat}


def alike(monitor: Monitor, found: Stretch) -> JSON:
    """Of answers that may be right in part."""
    known = [(at, one.facts["overlap"]) for at, one in _with(found, "overlap")]
    teacher, label = (
        [
            Share(at, told[name]["value"], rows=told[name]["rows"])
            for at, told in known
            if told.get(name)
        ]
        for name in ("agreement", "accuracy")
    )
    before = (monitor.reference or {}).get("overlap") or {}
    usual = (before.get("agreement" if teacher else "accuracy") or {}).get("value")
    return _chart(
        "monitor-alike", "How alike answers are", drift_series.alike(teacher, label, usual)
    )


def calibration_error(monitor: Monitor, found: Stretch) -> JSON:
    told = [
        Share(at, one.facts["calibration_error"], rows=one.facts.get("rows_with_label"))
        for at, one in _with(found, "calibration_error")
    ]
    before = reference_of(monitor, "calibration_error", "value")
    return _chart(
        "monitor-calibration-error",
        "Calibration error",
        drift_series.calibration_error(told, before),
    )


def faults(found: Stretch) -> JSON:
    told = [(at, one.facts["faults"]) for at, one in _with(found, "faults")]
    drawn = drift_series.faults([at for at, _ in told], [one for _, one in told])
    return _chart("monitor-faults", "Whose fault", drawn, note="rows with label and answer")


def signal(
    monitor: Monitor, found: Stretch, key: str, detector: str, incidents: Iterable[Incident]
) -> JSON:
    """One detector's value of a signal over time."""
    rules = signals.Rulebook(monitor)
    told = []
    for at, window in zip(found.places, found.windows, strict=True):
        for score in window.scores.get(key) or ():
            if score.get("detector") == detector:
                beyond = (rules.level(key, score) or 0.0) >= 1
                told.append(
                    drift.Told(
                        at, score.get("value"), score.get("limit"), score.get("effect"), beyond
                    )
                )
    drawn = drift.signal(
        told,
        name=signals.detector_words(detector),
        unit=signals.unit(detector),
        bands=bands(found, key, incidents),
    )
    return _chart(f"monitor-signal-{detector}", signals.detector_words(detector), drawn)


def bands(found: Stretch, key: str, incidents: Iterable[Incident]) -> list[tuple[int, int, str]]:
    """When the signal's alert was open."""
    if not found.windows:
        return []
    first, last = (signals.milliseconds(found.windows[at].starts_at) for at in (0, -1))
    end = signals.milliseconds(found.windows[-1].ends_at)
    made = []
    for incident in incidents:
        for one in incident.signals:
            if one.get("signal") != key:
                continue
            start = _moment(one.get("since")) or signals.milliseconds(incident.since)
            over = _moment(one.get("closed_at")) or (
                signals.milliseconds(incident.closed_at) if incident.closed_at else end
            )
            if over > first and start <= max(last, end):
                made.append((max(start, first), min(over, end), incident.severity))
    return made


def with_marks(charts: Sequence[JSON], found: Stretch) -> list[JSON]:
    """Each with a line where another version of the model began to answer."""
    marks = monitor_words.versions(found.windows)
    if found.windows:  # what rows say, and what its alias meant
        first = signals.milliseconds(found.windows[0].starts_at)
        told = {name for _, name in marks}
        marks += [one for one in found.moves if one[0] > first and one[1] not in told]
    if not marks:
        return list(charts)
    return [one | {"figure": drift.with_versions(one["figure"], marks)} for one in charts]


def with_room(figure: JSON) -> JSON:
    """One window alone stands in the middle of an hour: by itself its axis would count
    thousandths of a second."""
    times = {
        at
        for trace in figure["data"]
        for at, value in zip(trace.get("x") or (), trace.get("y") or (), strict=False)
        if value is not None
    }
    if len(times) != 1:
        return figure
    (at,) = times
    layout = figure["layout"]
    axis = {**layout["xaxis"], "range": [at - HALF_AN_HOUR, at + HALF_AN_HOUR]}
    return {**figure, "layout": {**layout, "xaxis": axis}}


def knows(found: Stretch, *names: str) -> bool:
    return any(one.facts.get(name) for one in found.windows for name in names)


def shares(found: Stretch, name: str) -> list[Share]:
    """A fact that is a share with its interval, where a window has it."""
    return [
        Share(at, fact.get("value"), fact.get("low"), fact.get("high"), fact.get("rows"))
        for at, window in _with(found, name)
        if isinstance(fact := window.facts[name], dict)
    ]


def reference_of(monitor: Monitor, name: str, part: str) -> float | None:
    """A number of the reference's summary."""
    found = (monitor.reference or {}).get(name)
    if isinstance(found, dict):
        found = found.get(part)
    return float(found) if isinstance(found, int | float) else None


def _with(found: Stretch, name: str) -> list[tuple[At, MonitorWindow]]:
    pairs = zip(found.places, found.windows, strict=True)
    return [(at, one) for at, one in pairs if one.facts.get(name)]


def _moment(value: Any) -> int | None:
    """Milliseconds of what JSON says of a time: seconds, or a date."""
    if isinstance(value, int | float):
        return round(value * 1000)
    if isinstance(value, str) and value:
        found = parse_datetime(value)
        return signals.milliseconds(found) if found is not None else None
    return None


def _chart(name: str, title: str, figure: JSON, *, note: str = "", height: int = 230) -> JSON:
    figure = with_room(figure)
    return {"name": name, "title": title, "figure": figure, "note": note, "height": height}
