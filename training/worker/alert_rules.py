"""When the alert of a signal opens: a monitor's rules, and what stands in for those it has not.

    Monitor.rules = {"input.age": {"level": 1e-4}, "input": {"opens": 3}, "*": {"closes": 5}}

A signal's own rules stand before those of its kind (the part before the dot), and these before
those of all (`*`). How large an effect is worth acting on depends on the detector, each of which
has a unit of its own: EFFECTS lines them up, so that a shift of a bell curve is as bad to all.

A signal may have several detectors. Their p were corrected together with those of all other
signals, so the signal speaks against the window where ANY of them does, by its own thresholds; the
worst counts. Its effect is told as a grade, in which units are gone: 1 is worth acting on, 2 is
serious, 3 is critical.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, NamedTuple

from training.engine.alerting import SHARES, STREAMS, Reading, Rules
from training.models import Monitor, MonitorWindow

JSON = dict[str, Any]

KNOWN = tuple(one.name for one in fields(Rules))
ALL = "*"
#: Traffic that stopped is no window's to say: worker/silence.py.
SILENCE = "silence"

#: Least effect that is worth acting on, a serious and a critical one, in the detector's unit. They
#: are what PSI says .02, .1 and .25 of (a bell curve moved by .14, .32 and .5 of its deviation).
EFFECTS: Mapping[str, tuple[float, float, float]] = {
    "psi": (0.02, 0.1, 0.25),
    "chi_square": (0.07, 0.16, 0.25),
    "jensen_shannon": (0.06, 0.13, 0.21),
    "kolmogorov_smirnov": (0.05, 0.12, 0.2),
    "total_variation": (0.05, 0.12, 0.2),
    "wasserstein": (0.14, 0.32, 0.5),
    "pca_ks": (0.05, 0.12, 0.2),
    "mmd": (0.03, 0.08, 0.15),
    "mmd_features": (0.03, 0.08, 0.15),
    "classifier": (0.08, 0.18, 0.28),
    "mann_whitney": (0.07, 0.17, 0.27),
    "confidence": (0.05, 0.12, 0.2),
}
#: Of signals whose effect is a share of rows that fell or rose.
OF_SHARES = (
    "agreement", "accuracy", "span_f1", "estimated_accuracy", "calibration", "whose_fault",
    "quality", "teacher_drift",
)  # fmt: skip
OF_STREAMS = ("error_stream", "disagreement_stream")
#: Doublings or halvings of what is usual: 1.4 times, twice, four times.
TRAFFIC = (0.5, 1.0, 2.0)
OF_TRAFFIC = ("volume", "latency")

#: How people call kinds of signals, in the order of forms and pages.
KINDS: Mapping[str, str] = {
    "input": "Columns of the input",
    "described": "What describes an input",
    "vector": "The student's vectors",
    "prediction": "Predictions",
    "answered": "What describes an answer",
    "confidence": "Confidence",
    "agreement": "Agreement with the teacher",
    "accuracy": "Accuracy, by labels",
    "span_f1": "F1 of spans, by labels",
    "estimated_accuracy": "Accuracy, estimated",
    "calibration": "Calibration",
    "whose_fault": "Whose fault",
    "error_stream": "Errors row by row",
    "disagreement_stream": "Disagreement row by row",
    "teacher_drift": "Change of the teacher",
    "quality": "Quality of the data",
    "volume": "Volume",
    "latency": "Latency",
}
USUAL = {"vector": "mmd_features", "prediction": "chi_square", "confidence": "confidence"}


class Said(NamedTuple):
    """What a window says of a signal: the detector that says it, and how bad it is."""

    reading: Reading  # its effect is the grade
    detector: str
    effect: float
    beyond: bool
    score: JSON


def kind_of(signal: str) -> str:
    return signal.partition(".")[0]


def rules_of(monitor: Monitor, signal: str, detector: str = "") -> Rules:
    """In the unit of the detector, or of one that is usual for the signal."""
    given: JSON = {}
    for key in (ALL, kind_of(signal), signal):
        found = monitor.rules.get(key) if isinstance(monitor.rules, dict) else None
        given |= {name: value for name, value in (found or {}).items() if name in KNOWN}
    return replace(usual(signal, detector), **given)


def usual(signal: str, detector: str = "") -> Rules:
    """What stands in for rules that a monitor has not."""
    kind = kind_of(signal)
    if kind in OF_STREAMS:
        return STREAMS
    if kind in OF_SHARES:
        return SHARES
    steps = TRAFFIC if kind in OF_TRAFFIC else EFFECTS.get(detector or USUAL.get(kind, "psi"))
    if steps is None:
        return Rules()
    return Rules(worth=steps[0], serious=steps[1], critical=steps[2])


def graded(monitor: Monitor, signal: str) -> Rules:
    """The signal's rules for effects that are grades."""
    return replace(rules_of(monitor, signal), worth=1.0, serious=2.0, critical=3.0)


def grade(effect: float, rules: Rules) -> float:
    """1 at `worth`, 2 at `serious`, 3 at `critical`, straight between; below 1 it is not worth
    acting on. Steps that are equal are passed at once."""
    steps = (rules.worth, rules.serious, rules.critical)
    if effect < steps[0]:
        return max(0.0, effect / steps[0]) if steps[0] > 0 else 0.0
    for place in (2, 1):
        if effect >= steps[place]:
            return float(place + 1)
    return 1.0 + (effect - steps[0]) / (steps[1] - steps[0])


def said_of(monitor: Monitor, signal: str, scores: Sequence[JSON]) -> Said | None:
    """None where no detector says anything."""
    found: list[Said] = []
    for score in scores:
        p, effect = score.get("corrected"), score.get("effect")
        if p is None or effect is None:
            continue
        detector = str(score.get("detector", ""))
        rules = rules_of(monitor, signal, detector)
        reading = Reading(p, grade(effect, rules))
        beyond = p <= rules.level and effect >= rules.worth
        found.append(Said(reading, detector, effect, beyond, score))
    against = [one for one in found if one.beyond]
    if against:
        return max(against, key=lambda one: one.reading.effect or 0.0)
    # None is beyond, and neither is what stands for them: the surest.
    return min(found, key=lambda one: one.reading.p or 0.0, default=None)


def all_said(monitor: Monitor, window: MonitorWindow) -> dict[str, Said | None]:
    """Of every signal of the window, in its order. One with too few rows speaks of volume alone."""
    few = window.rows < monitor.minimum_rows
    return {
        signal: None if few and kind_of(signal) != "volume" else said_of(monitor, signal, scores)
        for signal, scores in window.scores.items()
    }


def as_dict(rules: Rules) -> JSON:
    return asdict(rules)
