"""What teacher and labels say of the student: agreement, accuracy, and whose fault errors are."""

import math
from collections import Counter
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from training.charts.drift_series import FAULTS
from training.models import Monitor
from training.services import canaries, monitor_defaults, monitor_words, window_shapes
from training.views import monitor_charts as charts
from training.views import monitor_parts as parts
from training.views.monitor_parts import Stretch

JSON = dict[str, Any]

DROP = 0.05  # of the agreement, that sentences tell of
#: What finds such rows, as far as a list of rows can be asked for them.
ROWS = {
    "both_right": "",
    "teacher_wrong": "disagreeing=1",
    "student_wrong": "wrong=1&disagreeing=1",
    "both_wrong": "wrong=1",
}
UNSURE = "In no recent window does anybody surely err more than on the reference."
WORDS = {
    "both_right": "Nothing to do.",
    "teacher_wrong": "The student learned better than it was taught; nothing to do.",
    "student_wrong": "Distil again, on rows like these.",
    "both_wrong": "The world is new: replace the teacher, or teach it these rows.",
}


@require_safe
def monitor_teacher(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project, monitor = parts.monitor_of(request, project_slug, name)
    found = parts.stretch(request, monitor, "facts")
    context = {
        **parts.frame(project, monitor, "teacher"),
        **parts.ranged(found),
        "windows": found.windows,
        "charts": _charts(monitor, found),
        "fault_chart": charts.faults(found) if charts.knows(found, "faults") else None,
        "fault_rows": _faults(monitor, found),
        "advice": _advice(monitor, found),
        "by_label": _by_label(monitor, found),
        "sample": _sample(monitor, found),
        "canary": canaries.of(monitor),
        "window_url": reverse("training:monitor_window", args=[project.slug, monitor.name, 0]),
        "rows_url": parts.rows_address(project, monitor),
    }
    return render(request, "training/monitor_teacher.html", context)


def _charts(monitor: Monitor, found: Stretch) -> list[JSON]:
    made = []
    if charts.knows(found, "agreement"):
        made.append(charts.agreement(monitor, found))
    if charts.knows(found, "accuracy", "estimated_accuracy"):
        made.append(charts.accuracy(monitor, found))
    if charts.knows(found, "overlap"):
        made.append(charts.alike(monitor, found))
    if charts.knows(found, "calibration_error"):
        made.append(charts.calibration_error(monitor, found))
    return charts.with_marks(made, found)


def _faults(monitor: Monitor, found: Stretch) -> list[JSON]:
    """Who was wrong, over the whole stretch, beside the reference, and what it asks for."""
    total = dict.fromkeys(FAULTS, 0)
    for window in found.windows:
        for kind, count in (window.facts.get("faults") or {}).items():
            if kind in total:
                total[kind] += count
    rows = sum(total.values())
    reference = {**(monitor.reference or {}), **window_shapes.shares_of_reference(monitor)}
    before = reference.get("faults") or {}
    known = sum(before.get(kind, 0) for kind in FAULTS)
    if not rows:
        return []
    return [
        {
            "kind": kind,
            "words": words,
            "tone": tone,
            "rows": total[kind],
            "share": total[kind] / rows,
            "before": before.get(kind, 0) / known if known else None,
            "do": WORDS[kind],
            "query": ROWS[kind],
        }
        for kind, (words, tone) in FAULTS.items()
    ]


def _by_label(monitor: Monitor, found: Stretch) -> list[JSON]:
    """Of each label, over the whole stretch, how many of the rows that student or teacher give it
    both do; the least first. Of several labels a row."""
    before = (monitor.reference or {}).get("label_agreement") or {}
    rows: Counter[str] = Counter()
    same: Counter[str] = Counter()
    for window in found.windows:
        for label, told in (window.facts.get("label_agreement") or {}).items():
            rows[label] += told["rows"]
            same[label] += told["rows"] * told["value"]
    listed = [
        {
            "label": label,
            "rows": many,
            "share": same[label] / many,
            "before": (before.get(label) or {}).get("value"),
        }
        for label, many in rows.items()
        if many
    ]
    return sorted(listed, key=lambda one: one["share"])


def _advice(monitor: Monitor, found: Stretch) -> list[str]:
    """Of the newest windows that have rows with a label and an answer."""
    recent = [one.number for one in found.windows if one.facts.get("faults")][
        -monitor_words.RECENT :
    ]
    rows = monitor.windows.filter(number__in=recent).order_by("-number")
    return monitor_words.fault_advice(rows.values_list("scores", flat=True)) or [UNSURE]


def _sample(monitor: Monitor, found: Stretch) -> JSON:
    """How many answers there are, how many it takes to see a fall, and how long that lasts."""
    answers = sum(int(one.facts.get("rows_with_answer") or 0) for one in found.windows)
    before = charts.reference_of(monitor, "agreement", "value") or monitor_defaults.BEFORE
    before = min(0.995, max(DROP + 0.01, before))
    needed = monitor_defaults.rows_needed(before, before - DROP)
    rows = [one.rows for one in found.windows]
    a_window = monitor.teacher_share * (sum(rows) / len(rows)) if rows else 0.0
    return {
        "answers": answers,
        "needed": needed,
        "before": before,
        "after": before - DROP,
        "a_window": round(a_window),
        "windows": math.ceil(needed / a_window) if a_window >= 1 else None,
    }
