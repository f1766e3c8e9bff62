"""What the settings of a monitor come to, in plain sentences: how long a window is, how often
chance will ring, what it takes to see a change, what asking the teacher costs."""

import math
from collections.abc import Mapping
from statistics import NormalDist
from typing import Any, NamedTuple

from distillhub.templatetags.ui import grouped
from training import catalog
from training.services import monitor_defaults
from training.services.inference_records import VECTORS, WRITTEN

JSON = dict[str, Any]

MONTH = 30 * 24  # hours
LEVEL, POWER = 0.001, 0.9
COLUMNS = 20  # signals that are corrected together, where nobody knows yet how many
DESCRIBED = {
    "text": ["length", "words", "non-letters", "language", "words the tokenizer does not know"],
    "image": ["size", "brightness", "contrast", "sharpness", "saturation"],
    "audio": ["duration", "loudness", "silence", "spectral centroid"],
}

#: Signals that are no input, and what they wait for.
ANSWERS = (
    ("prediction", ""), ("confidence", ""), ("estimated_accuracy", ""), ("agreement", "teacher"),
    ("whose_fault", "both"), ("accuracy", "labels"), ("span_f1", "labels"),
    ("calibration", "labels"),
    ("error_stream", "labels"), ("disagreement_stream", "teacher"), ("quality", ""),
    ("volume", ""), ("latency", ""),
)  # fmt: skip


OF_ANSWERS = "answers: length, words, language, emptiness, repetition"


class Meaning(NamedTuple):
    """Sentences; `signals` of what will be watched: (what, by which detectors)."""

    window: list[str]
    teacher: list[str]
    signals: list[tuple[str, str]]


def of(columns: Mapping[str, Any], *, reference_rows: int | None) -> Meaning:
    """Of columns of a Monitor, as monitor_settings.read gives them."""
    return Meaning(_window(columns, reference_rows), _teacher(columns), _signals(columns))


def _window(columns: Mapping[str, Any], reference_rows: int | None) -> list[str]:
    rows, hours = columns.get("window_rows"), columns.get("window_hours")
    if rows is not None:
        found = [f"A window is {grouped(rows)} rows, judged as soon as it is full."]
        seen = smallest_shift(rows, reference_rows)
        found.append(
            "A column that moves by a quarter of its deviation is found, as a rule, within two "
            "windows."
            if seen <= 0.25
            else f"A column has to move by about {seen:.2f} of its deviation to be found; longer "
            "windows see smaller moves."
        )
        found.append(f"At one window an hour, chance opens {_by_chance(MONTH)}.")
        return found
    if hours is None:
        return []
    length = "an hour" if hours == 1 else f"{hours:g} hours"
    grace, least = columns.get("grace_minutes", 5), columns.get("minimum_rows", 50)
    return [
        f"A window is {length}, judged {grace} minutes after it ends if it has {grouped(least)} "
        "rows or more; with fewer it says nothing.",
        f"That is {grouped(MONTH / hours)} windows a month, of which chance opens "
        f"{_by_chance(MONTH / hours)}.",
    ]


def _by_chance(windows: float) -> str:
    """Alerts that chance opens by two of three windows of one signal, beyond a level that is shared
    by all signals. The bench counted none in 50 months (docs/results.md)."""
    expected = windows * COLUMNS * 2 * (LEVEL / COLUMNS) ** 2
    return "less than one alert a year" if expected * 12 < 1 else f"about {expected:.1f} alerts"


def smallest_shift(rows: int, reference_rows: int | None) -> float:
    """Of a bell curve's mean, in deviations, that PSI of ten cells finds with the chance `POWER` at
    the corrected level: from the noncentral chi-square's normal law."""
    alike = 1 / (1 / rows + (1 / reference_rows if reference_rows else 0.0))
    freedom, level = 9, LEVEL / COLUMNS
    z = NormalDist().inv_cdf(1 - level)
    # Wilson, Hilferty 1931
    limit = freedom * (1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3
    reach = NormalDist().inv_cdf(POWER)
    apart = limit - freedom
    for _ in range(50):
        apart = limit - freedom + reach * math.sqrt(2 * (freedom + 2 * apart))
    return math.sqrt(apart / alike)


def _teacher(columns: Mapping[str, Any]) -> list[str]:
    teacher, share = columns.get("teacher"), columns.get("teacher_share") or 0.0
    if teacher is None or not share:
        return [
            "No teacher is asked, so nobody sees whether the student still agrees with it. Labels "
            "that come later tell its accuracy."
        ]
    daily = columns.get("teacher_daily", monitor_defaults.TEACHER_DAILY)
    needed = monitor_defaults.rows_needed()
    found = [
        f"{teacher.reference} is asked about {share * 100:g} % of rows, and at most "
        f"{grouped(daily)} a day. Which ones, a hash of their id decides.",
    ]
    rows = columns.get("window_rows")
    if rows is not None:
        a_window = max(1, round(rows * share))
        windows = math.ceil(needed / a_window)
        many = "one window" if windows == 1 else f"about {grouped(windows)} windows"
        when = f"With {grouped(a_window)} answers a window, that is {many}."
    else:
        when = f"At {grouped(daily)} a day, that is about {needed / max(1, daily):.1f} days."
    found.append(
        f"A fall of agreement from 95 % to 90 % takes about {grouped(needed)} answers to be sure "
        f"of. {when}"
    )
    if teacher.is_asked:
        found.append(
            "It is a service elsewhere: what it is asked about leaves this installation, and costs "
            "what the service takes."
        )
    return found


def _signals(columns: Mapping[str, Any]) -> list[tuple[str, str]]:
    detectors = columns.get("detectors") or {}
    has_teacher = bool(columns.get("teacher")) and bool(columns.get("teacher_share"))
    version = columns.get("dataset_version")
    found = []
    for what, key in _watched(str(columns.get("task", "")), version):
        found.append((what, _names(detectors.get(key, []))))
    for key, asks in ANSWERS:
        if key == "prediction" and columns.get("task") == VECTORS:
            continue
        if key == "prediction" and columns.get("task") == WRITTEN:
            found.append((OF_ANSWERS, _names(detectors.get("numbers", []))))
            continue
        if asks in ("teacher", "both") and not has_teacher:
            continue
        kind = key if key != "prediction" else "categories" if columns.get("labels") else "numbers"
        by = detectors.get(key, detectors.get(kind, []))
        if key not in detectors and kind not in detectors:
            continue
        later = " (once labels come)" if asks in ("labels", "both") else ""
        found.append((key.replace("_", " ") + later, _names(by)))
    return found


def _watched(task: str, version: Any) -> list[tuple[str, str]]:
    """Of the input: (what, kind)."""
    column = (catalog.find("tasks", task) or {"column": ""})["column"]
    if column:
        return [(", ".join(DESCRIBED[column]), "numbers"), ("the student's vectors", "embeddings")]
    features = version.features if version is not None else {}
    numbers = sum(kind == "numeric" for kind in features.values())
    names = len(features) - numbers
    found = []
    if numbers or not features:
        found.append((f"{numbers or 'all'} columns of numbers", "numbers"))
    if names or not features:
        found.append((f"{names or 'all'} columns of names", "categories"))
    return [*found, ("the student's vectors", "embeddings")]


def _names(by: list[JSON]) -> str:
    labels = []
    for one in by:
        method = catalog.find("detectors", one.get("kind", ""))
        labels.append(str(method["label"]) if method else str(one.get("kind")))
    return ", ".join(labels) or "not watched"
