"""What pages show of an incident, read from its row and its windows."""

from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode

from distillhub.lib.errors import DomainError
from projects.models import Project
from training.models import Incident, MonitorWindow
from training.services import inferences, signals
from training.views import monitor_charts, monitor_parts, monitor_rows
from training.worker import incident_words
from training.worker.alert_rules import SILENCE

JSON = dict[str, Any]

TONES = {"notice": "warn", "serious": "warn", "critical": "bad"}
MEASURED = (
    ("agreement", "Agreement with the teacher"),
    ("accuracy", "Right, by labels"),
    ("estimated_accuracy", "Accuracy, estimated"),
)
HARM = {
    "seen": ("Harm is seen", "The student errs more than before.", "bad"),
    "likely": ("Likely", "Worse than chance explains. No alert is open about it yet.", "warn"),
    "too few rows": ("Can't tell yet", "Too few rows have a label or an answer.", "wait"),
    "none seen": ("No harm so far", "What was measured is no lower than before.", "good"),
    "no reference": ("Not known", "How often it was right on the reference is not known.", "wait"),
    "unknown": ("Not known", "No labels came, and the teacher was not asked.", "wait"),
}
CHARTS = 2  # signals that are drawn
ROWS = 8
BEFORE = timedelta(days=2)  # windows before it that charts show
MOST_WINDOWS = 400


def line(incident: Incident) -> JSON:
    """For a line of a list, and the head of the page."""
    if incident.closed_at is not None:
        state, tone = "closed", "good"
    elif incident.owner is not None:
        state, tone = f"{incident.owner.display_name} has it", "live"
    elif incident.acknowledged_at is not None:
        state, tone = "seen", "live"
    else:
        state, tone = "nobody has it", "wait"
    open_ = [one for one in incident.signals if not one.get("closed_at")]
    return {
        "incident": incident,
        "tone": "wait" if incident.closed_at else TONES.get(incident.severity, "warn"),
        "state": state,
        "state_tone": tone,
        "signals": len(open_) or len(incident.signals),
        "sentence": incident.sentence,
        "lasted": (incident.closed_at - incident.since).total_seconds()
        if incident.closed_at is not None
        else None,
    }


def words(incident: Incident) -> JSON:
    """What changed, then what it means, then what to do: its sentence in three parts."""
    head, stop, rest = incident.sentence.partition(". ")
    advice = [str(one) for one in (incident.facts or {}).get("advice") or []]
    for one in advice:
        rest = rest.replace(one, "").strip()
    return {"head": f"{head}." if stop else head, "rest": rest, "advice": advice}


def numbers(incident: Incident) -> list[JSON]:
    """The few that matter, big."""
    facts: JSON = incident.facts or {}
    found: list[JSON] = []
    if facts.get("harm") in HARM:
        value, hint, tone = HARM[facts["harm"]]
        found.append({"label": "Does it harm?", "value": value, "hint": hint, "tone": tone})
    for name, label in MEASURED:
        told = facts.get(name)
        if told:
            found.append({"label": label, **_measured(told)})
    return found


def _measured(told: JSON) -> JSON:
    hints = []
    if told.get("reference") is not None:
        hints.append(f"{incident_words.percent(told['reference'])} on the reference")
    if told.get("low") is not None and told.get("high") is not None:
        low, high = (incident_words.percent(told[name]) for name in ("low", "high"))
        hints.append(f"{low} to {high}")
    if told.get("rows"):
        hints.append(f"of {told['rows']} rows")
    return {"value": incident_words.percent(told["value"]), "hint": ", ".join(hints), "tone": ""}


def signals_of(incident: Incident) -> list[JSON]:
    """Open ones first, the worst first."""
    project, monitor = incident.project, incident.monitor
    at = reverse("training:monitor_signals", args=[project.slug, monitor.name])
    rows = []
    for one in incident.signals:
        signal = str(one["signal"])
        detector = str(one.get("detector") or "")
        severity = one.get("severity") or incident.severity
        rows.append(
            {
                "called": incident_words.called(signal),
                "url": "" if signal == SILENCE else f"{at}?{urlencode({'signal': signal})}",
                "severity": severity,
                "tone": "wait" if one.get("closed_at") else TONES.get(severity, "warn"),
                "effect": one.get("effect"),
                "detector": signals.detector_words(detector) if detector else "",
                "effect_unit": signals.effect_unit(detector) if detector else "",
                "since": _time(one.get("since")),
                "closed_at": _time(one.get("closed_at")),
                "grade": float(one.get("grade") or 0),
            }
        )
    return sorted(rows, key=lambda one: (one["closed_at"] is not None, -one["grade"]))


def rows_of(project: Project, incident: Incident) -> JSON:
    """Its most foreign rows, as the list of rows shows them."""
    ids = [str(one) for one in (incident.facts or {}).get("rows") or []][:ROWS]
    monitor, refused, found = incident.monitor, "", []
    if ids:
        try:
            found = inferences.by_ids(monitor, ids)
        except DomainError as error:
            refused = error.detail
    rows = [monitor_rows.shown_of(project, monitor, one) for one in found]
    here = reverse("training:monitor_rows", args=[project.slug, monitor.name])
    number = (incident.facts or {}).get("window")
    return {
        "rows": rows,
        "rows_refused": refused,
        "here": here,
        "all_rows": f"{here}?window={number}" if number is not None else here,
        "with_label": any(one["label"] is not None for one in found),
        "with_teacher": any(one["teacher"] for one in found),
        "with_latency": False,
        "asked": {},
        "reads": "audio" if monitor.task.startswith("audio") else "image",
    }


def charts_of(incident: Incident) -> list[JSON]:
    """The worst signals over the windows around it."""
    keys = [one for one in _worst_first(incident) if one != SILENCE][:CHARTS]
    if not keys:
        return []
    monitor = incident.monitor
    windows = monitor.windows.filter(rows__gt=0, ends_at__gte=incident.since - BEFORE)
    if incident.closed_at is not None:
        # Windows tell the time of their rows, which may be long before an incident is closed.
        last = incident.facts.get("window") or (incident.window and incident.window.number) or 0
        windows = windows.filter(number__lte=last + MOST_WINDOWS // 2)
    found = list(windows.only(*monitor_parts.COLUMNS, "scores").order_by("number")[:MOST_WINDOWS])
    if len(found) < 2:
        return []
    stretch = monitor_parts.Stretch("all", found, False, "")
    return [
        monitor_charts.signal(monitor, stretch, key, detector, [incident])
        | {
            "title": incident_words.called(key)[:1].upper() + incident_words.called(key)[1:],
            "name": f"incident-{place}",
        }
        for place, key in enumerate(keys)
        if (detector := _detector(incident, found, key))
    ]


def _worst_first(incident: Incident) -> list[str]:
    rows = sorted(
        incident.signals,
        key=lambda one: (bool(one.get("closed_at")), -float(one.get("grade") or 0)),
    )
    return [str(one["signal"]) for one in rows]


def _detector(incident: Incident, windows: list[MonitorWindow], key: str) -> str:
    """That spoke worst, else the first that the newest windows have."""
    for one in incident.signals:
        if one.get("signal") == key and one.get("detector"):
            return str(one["detector"])
    for window in reversed(windows):
        for score in window.scores.get(key) or ():
            return str(score.get("detector", ""))
    return ""


def _time(text: Any) -> Any:
    return parse_datetime(text) if isinstance(text, str) else None
