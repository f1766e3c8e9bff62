"""Signals of a monitor, as people read them: their words, how far each is from its reference, and
how that went over windows. Reads columns of MonitorWindow that engine/watching/windows.py tells of;
its sums are never loaded."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from training import catalog
from training.engine import alerting
from training.models import Monitor, MonitorWindow
from training.worker import alert_rules

JSON = dict[str, Any]

#: What signals are called; those of columns and descriptors by their own names.
WORDS = {
    "vector": "embedding",
    "prediction": "predictions",
    "answered.labels": "labels a row",
    "answered.other_labels": "other labels",
    "answered.tagged": "share of words with a tag",
    "answered.spans": "spans a row",
    "answered.empty": "empty answers",
    "answered.repeated": "repetition in answers",
    "error": "distance from the label",
    "difference": "distance from the teacher's answer",
    "confidence": "confidence",
    "agreement": "agreement with the teacher",
    "accuracy": "accuracy",
    "span_f1": "F1 of spans",
    "calibration": "calibration",
    "estimated_accuracy": "estimated accuracy",
    "error_stream": "errors row by row",
    "disagreement_stream": "disagreement row by row",
    "whose_fault": "whose fault",
    "teacher_drift": "change of the teacher",
    "volume": "volume",
    "latency": "latency",
    "quality.missing": "missing values",
    "quality.unseen": "unseen names",
    "quality.out_of_range": "out of range",
    "quality.duplicated": "repeated rows",
}
INPUTS, ANSWERS, TEACHER, QUALITY, TRAFFIC = (
    "Inputs",
    "Answers",
    "Labels and teacher",
    "Quality",
    "Traffic",
)
GROUPS = (INPUTS, ANSWERS, TEACHER, QUALITY, TRAFFIC)
OF_GROUP = {
    "vector": INPUTS,
    "prediction": ANSWERS,
    "confidence": ANSWERS,
    "estimated_accuracy": ANSWERS,
    "volume": TRAFFIC,
    "latency": TRAFFIC,
}
LEVELS = ("as it was", "a notice", "serious", "critical")
TONES = ("good", "warn", "bad", "bad")
BY_CHANCE = 0.9  # the most that a grade says where chance explains it


@dataclass(frozen=True, slots=True)
class Signal:
    """`levels` is one for each window of the range, None where it said nothing; `score` and
    `level` are the newest that said anything, `at` that window."""

    key: str
    words: str
    group: str
    levels: list[float | None] = field(default_factory=list)
    score: JSON | None = None
    level: float | None = None
    at: MonitorWindow | None = None
    said: str = ""

    @property
    def worst(self) -> float:
        return max((one for one in self.levels if one is not None), default=0.0)

    @property
    def beyond(self) -> int:
        """Windows that count against it."""
        return sum(one is not None and one >= 1 for one in self.levels)

    @property
    def state(self) -> str:
        return "says nothing" if self.level is None else LEVELS[int(self.level)]

    @property
    def tone(self) -> str:
        return "mute" if self.level is None else TONES[int(self.level)]

    @property
    def detector(self) -> str:
        return detector_words(self.score["detector"]) if self.score else ""


def words(key: str) -> str:
    """`input.age` as age, `described.length` as length, in words."""
    if key in WORDS:
        return WORDS[key]
    kind, _, name = key.partition(".")
    if kind == "answered" and name:
        return f"{name.replace('_', ' ')} of answers"
    return name.replace("_", " ") if kind == "described" and name else (name or key)


def group(key: str) -> str:
    if key.startswith(("input.", "described.")):
        return INPUTS
    if key.startswith(("prediction.", "answered.")):
        return ANSWERS
    return QUALITY if key.startswith("quality.") else OF_GROUP.get(key, TEACHER)


def detector_words(kind: str) -> str:
    found = catalog.find("detectors", kind)
    return str(found["label"]) if found else kind.replace("_", " ")


def unit(kind: str) -> str:
    """What a detector's value counts."""
    found = catalog.find("detectors", kind)
    return str(found["unit"]) if found and found["unit"] else "value"


def effect_unit(kind: str) -> str:
    found = catalog.find("detectors", kind)
    return str(found["effect_unit"]) if found and found["effect_unit"] else "effect"


def all_of(monitor: Monitor, windows: Sequence[MonitorWindow]) -> list[Signal]:
    """Every signal that a window of these tells of, with its level in each."""
    keys: dict[str, None] = {}
    for window in windows:
        keys |= dict.fromkeys(window.scores)
    rules = Rulebook(monitor)
    made = []
    for key in sorted(keys, key=_place):
        levels: list[float | None] = []
        newest: tuple[JSON, float, MonitorWindow] | None = None
        said = ""
        for window in windows:
            scores = window.scores.get(key) or ()
            found = rules.worst(key, scores)
            levels.append(found[1] if found else None)
            if found:
                newest = (found[0], found[1], window)
            said = str(scores[0].get("said") or "") if scores else ""
        score, level, at = newest or (None, None, None)
        made.append(Signal(key, words(key), group(key), levels, score, level, at, said))
    return made


def _place(key: str) -> tuple[int, list[tuple[bool, int, str]]]:
    """By group, then by name, in which column 10 comes after column 9."""
    parts = re.findall(r"\d+|\D+", words(key))
    return GROUPS.index(group(key)), [
        (one.isdecimal(), int(one) if one.isdecimal() else 0, one) for one in parts
    ]


class Rulebook:
    """Grades of a monitor's signals by its rules (worker/alert_rules.py), each read once."""

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._known: dict[tuple[str, str], alerting.Rules] = {}

    def of(self, signal: str, detector: str) -> alerting.Rules:
        key = (signal, detector)
        if key not in self._known:
            self._known[key] = alert_rules.rules_of(self._monitor, signal, detector)
        return self._known[key]

    def level(self, signal: str, score: Mapping[str, Any] | None) -> float | None:
        """0 as it was, 1 worth acting on, 2 serious, 3 critical, and between them; below 1 where
        chance explains it. None where nothing is said."""
        effect = score.get("effect") if score else None
        if score is None or effect is None:
            return None
        rules = self.of(signal, str(score.get("detector", "")))
        level = alert_rules.grade(float(effect), rules)
        corrected = score.get("corrected")
        return min(level, BY_CHANCE) if corrected is not None and corrected > rules.level else level

    def worst(self, signal: str, scores: Sequence[JSON]) -> tuple[JSON, float] | None:
        """The detector that says the most of a signal, as alerts see it, and its level."""
        found: tuple[JSON, float] | None = None
        for score in scores:
            level = self.level(signal, score)
            if level is not None and (found is None or level > found[1]):
                found = score, level
        return found


def milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
