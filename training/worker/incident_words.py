"""What changed, in words and as facts: what an incident says of the windows that spoke against it.

`facts` of an incident, all of the newest window that changed it:

    {"window": number, "at": time,
     "slices": [{"slice", "signal", "detector", "effect", "rows"}],   where it is worst, first
     "rows": [ids],                                                   the most foreign, far first
     "agreement", "accuracy", "estimated_accuracy": {"value", "low", "high", "rows", "reference"},
     "advice": [sentences],                                           of engine/whose_fault
     "harm": "seen" | "likely" | "too few rows" | "none seen" | "no reference" | "unknown"}
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from training import catalog
from training.models import Monitor, MonitorWindow
from training.worker import alert_rules
from training.worker.alert_rules import SILENCE, kind_of

JSON = dict[str, Any]

NAMED = 3  # signals that a sentence names
ROWS = 20  # ids of foreign rows that are kept
WORST_SLICES = 3
STANDS_OUT = 1.25  # a slice whose effect is so many times the whole's
LONGEST = 1000

#: Signals by which harm is seen, and not only that something moved.
HARMFUL = (
    "agreement", "accuracy", "span_f1", "error_stream", "disagreement_stream", "whose_fault",
)  # fmt: skip
MEASURED = ("agreement", "accuracy", "estimated_accuracy")
FALLS = {*MEASURED, "span_f1"}
QUALITY = {
    "missing": "missing values",
    "unseen": "names never seen before",
    "out_of_range": "values out of range",
    "duplicated": "repeated rows",
}
ANSWERED = {
    "labels": "how many labels are given",
    "other_labels": "labels never given before",
    "tagged": "the share of words with a tag",
    "spans": "how many spans there are",
    "empty": "how many answers are empty",
    "repeated": "how much answers repeat themselves",
}
CALLED = {
    "vector": "the embedding",
    "prediction": "the predictions",
    "confidence": "confidence",
    "agreement": "agreement with the teacher",
    "accuracy": "accuracy",
    "span_f1": "F1 of spans",
    "calibration": "calibration",
    "estimated_accuracy": "estimated accuracy",
    "error": "how far answers are from what is right",
    "difference": "how far answers are from the teacher's",
    "error_stream": "the errors row by row",
    "disagreement_stream": "the disagreement row by row",
    "whose_fault": "who errs",
    "teacher_drift": "the teacher itself",
    "volume": "the volume",
    "latency": "the latency",
    SILENCE: "traffic",
}
#: A fall that could hide behind this many rows: their interval reaches so far below the reference.
COULD_HIDE = 0.1
#: What a sentence says of harm, where no signal of it is open.
HARM = {
    "likely": "That is worse than chance explains: harm is likely, though no alert is open about "
    "it yet.",
    "too few rows": "Too few rows were measured to say whether it does harm.",
    "none seen": "So far no harm is seen.",
    "no reference": "Whether that is worse is not known: of the reference nobody knows how often "
    "the model was right.",
    "unknown": "Whether it does harm is not known: no labels came, and the teacher was not asked.",
}


def called(signal: str) -> str:
    """A signal, as a sentence names it."""
    kind, _, name = signal.partition(".")
    if kind == "input":
        return f"the column {name}"
    if kind == "described":
        return f"the inputs' {name.replace('_', ' ')}"
    if kind == "prediction" and name:
        return f"the label {name}"
    if kind == "answered":
        return ANSWERED.get(name, f"the answers' {name.replace('_', ' ')}")
    if kind == "quality":
        return QUALITY.get(name, f"quality ({name})")
    return CALLED.get(signal, signal)


def zone_of(monitor: Monitor) -> ZoneInfo:
    """That its quiet hours and its sentences are in."""
    alerting: JSON = monitor.alerting if isinstance(monitor.alerting, dict) else {}
    try:
        return ZoneInfo(str((alerting.get("quiet_hours") or {}).get("zone") or "UTC"))
    except (ZoneInfoNotFoundError, ValueError, OSError):  # this machine does not know it
        return ZoneInfo("UTC")


def moment(at: datetime, monitor: Monitor) -> str:
    there = at.astimezone(zone_of(monitor))
    return f"{there.day} {there:%b %H:%M %Z}"


def facts(monitor: Monitor, window: MonitorWindow, signals: Sequence[str]) -> JSON:
    """Of open signals, by the window that changed them."""
    told: JSON = {"window": window.number, "at": window.ends_at.isoformat()}
    told["slices"] = worst_slices(monitor, window, signals)
    told["rows"] = list(window.facts.get("most_foreign") or window.facts.get("sample") or [])[:ROWS]
    for name in MEASURED:
        measured = window.facts.get(name)
        if isinstance(measured, dict) and measured.get("value") is not None:
            told[name] = {**measured, "reference": _reference(monitor, window, name)}
    fault = ((window.scores.get("whose_fault") or [{}])[0].get("facts")) or {}
    # That faults did not grow is no proof, and no advice: few rows have a label and an answer.
    told["advice"] = list(fault.get("advice") or []) if fault.get("grew") else []
    told["harm"] = _harm(told, signals)
    if "teacher_drift" in signals:
        for one in window.scores.get("teacher_drift") or []:
            told["advice"] += one["facts"].get("advice") or []
    return told


def worst_slices(monitor: Monitor, window: MonitorWindow, signals: Iterable[str]) -> list[JSON]:
    """In which an open signal stands out from the whole window, worst first."""
    found: list[tuple[float, JSON]] = []
    for signal in signals:
        whole = alert_rules.said_of(monitor, signal, window.scores.get(signal) or [])
        for name, part in (window.slices or {}).items():
            for score in (part.get("scores") or {}).get(signal) or []:
                p, effect = score.get("p"), score.get("effect")
                if p is None or effect is None:
                    continue
                detector = str(score.get("detector", ""))
                rules = alert_rules.rules_of(monitor, signal, detector)
                bad = alert_rules.grade(effect, rules)
                stands = whole is None or effect >= STANDS_OUT * max(whole.effect, 0.0)
                if p <= rules.level and bad >= 1 and stands:
                    row = {"slice": name, "signal": signal, "detector": detector}
                    found.append((bad, row | {"effect": effect, "rows": part.get("rows")}))
    found.sort(key=lambda one: (-one[0], -float(one[1]["effect"]), one[1]["slice"]))
    return [row for _, row in found[:WORST_SLICES]]


def sentence(
    monitor: Monitor, *, since: datetime, signals: Sequence[str], facts: Mapping[str, Any]
) -> str:
    """What changed, of signals that are open, worst first."""
    if list(signals) == [SILENCE]:
        return f"Nothing came since {moment(since, monitor)}: the traffic stopped."
    moved = [one for one in signals if one != SILENCE]
    said = [f"Since {moment(since, monitor)} {_moved(moved)}{_where(facts)}."]
    said += filter(None, (_agreement(facts), _accuracy(facts), _estimated(facts)))
    if facts.get("harm") != "seen":
        said.append(HARM[facts.get("harm") or "unknown"])
    # That the student is to be distilled again, or that the world is new.
    said += facts.get("advice") or []
    if SILENCE in signals:
        said.append("And the traffic stopped.")
    return cut(" ".join(said))


def enumerated(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def named(signals: Sequence[str]) -> str:
    """The first few by name, and how many more."""
    shown = [called(one) for one in signals[:NAMED]]
    more = len(signals) - len(shown)
    if more:
        shown.append(f"{more} more signal{'s' if more > 1 else ''}")
    return enumerated(shown)


def score_words(entry: Mapping[str, Any]) -> str:
    """`Population stability index 0.31, serious` of one signal of an incident."""
    effect = entry.get("effect")
    detector = str(entry.get("detector") or "")
    found = catalog.find("detectors", detector)
    label = str(found["label"]) if found else detector.replace("_", " ")
    said = [f"{label} {effect:.2g}".strip()] if effect is not None else []
    return ", ".join([*said, str(entry.get("severity") or "")]).strip(", ")


def cut(text: str, longest: int = LONGEST) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1].rstrip()}…"


def percent(share: float) -> str:
    """`7.4 %` of small ones, `71 %` of others."""
    return f"{share * 100:.1f} %" if 0 < share < 0.1 else f"{share * 100:.0f} %"


def _moved(signals: Sequence[str]) -> str:
    if not signals:
        return "something moved"
    if {kind_of(one) for one in signals} <= {"quality"}:
        return f"there are more {named(signals)} than on the reference"
    if {kind_of(one) for one in signals} <= FALLS:
        return f"{named(signals)} fell"
    return f"{named(signals)} moved"


def _where(facts: Mapping[str, Any]) -> str:
    names = list(dict.fromkeys(one["slice"] for one in facts.get("slices") or []))
    return f", most in {enumerated([f'“{one}”' for one in names[:2]])}" if names else ""


def _agreement(facts: Mapping[str, Any]) -> str:
    found = facts.get("agreement")
    if not found:
        return ""
    of = f" of {found['rows']} rows that it was asked about" if found.get("rows") else ""
    return f"The student agrees with its teacher on {_compared(found, of)}."


def _accuracy(facts: Mapping[str, Any]) -> str:
    found = facts.get("accuracy")
    if not found:
        return ""
    of = f" of {found['rows']} labelled rows" if found.get("rows") else " of labelled rows"
    before = found.get("reference")
    beside = f", {percent(before)} on the reference" if before is not None else ""
    return f"{percent(found['value'])}{of} are right{beside}."


def _estimated(facts: Mapping[str, Any]) -> str:
    """Only where nothing better is known, and never without its caveat."""
    found = facts.get("estimated_accuracy")
    if not found or facts.get("accuracy"):
        return ""
    said = f"Confidence promises an accuracy of {_compared(found, '')}"
    return f"{said}, and knows nothing of rows of a new kind."


def _compared(found: Mapping[str, Any], of: str) -> str:
    said = f"{percent(found['value'])}{of}"
    if found.get("reference") is not None:
        said += f", {percent(found['reference'])} on the reference"
    return said


def _harm(told: Mapping[str, Any], signals: Iterable[str]) -> str:
    """Seen by an alert alone. Without one, what was measured may be lower than chance explains, or
    too little to show even a large fall: neither is called harmless."""
    if any(kind_of(one) in HARMFUL for one in signals):
        return "seen"
    measured = [
        told[name] for name in ("agreement", "accuracy") if (told.get(name) or {}).get("rows")
    ]
    if told.get("advice") or any(is_lower(one) for one in measured):
        return "likely"
    if not measured:
        return "unknown"
    compared = [one for one in measured if one.get("reference") is not None]
    if not compared:
        return "no reference"
    return "none seen" if any(map(is_telling, compared)) else "too few rows"


def is_lower(found: Mapping[str, Any]) -> bool:
    """Whether the whole interval of a share lies below the reference."""
    high, before = found.get("high"), found.get("reference")
    return high is not None and before is not None and bool(high < before)


def is_telling(found: Mapping[str, Any]) -> bool:
    """Whether a large fall would have been seen in it: one of `COULD_HIDE` is not within it."""
    low, before = found.get("low"), found.get("reference")
    return low is None or before is None or bool(low >= before - COULD_HIDE)


def _reference(monitor: Monitor, window: MonitorWindow, signal: str) -> float | None:
    for score in window.scores.get(signal) or []:
        value = (score.get("facts") or {}).get("reference")
        if isinstance(value, int | float):
            return float(value)
    value = (window.facts.get(signal) or {}).get("reference")
    if value is None:
        fitted = (monitor.reference or {}).get(signal)
        value = fitted.get("value") if isinstance(fitted, dict) else fitted
    return float(value) if isinstance(value, int | float) else None
