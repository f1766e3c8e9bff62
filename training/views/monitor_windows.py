"""One window of a monitor: what came in it, what the detectors say, and in which slice."""

from collections.abc import Mapping, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from distillhub.templatetags import ui
from projects.models import Project
from training.charts import drift, drift_series, drift_shapes
from training.models import Monitor, MonitorWindow
from training.services import monitor_marks, monitor_words, signals, window_shapes, windows
from training.services.inference_records import BY_WORD
from training.services.signals import Rulebook
from training.views import monitor_parts as parts
from training.views import monitor_scatter

JSON = dict[str, Any]

LISTED = 100  # windows of a table
MOST_MOVED = 3  # signals of a slice, in words
NAMED = 6  # signals that moved, in words


@require_safe
def monitor_window(request: HttpRequest, project_slug: str, name: str, number: int) -> HttpResponse:
    project, monitor = parts.monitor_of(request, project_slug, name)
    window = windows.find(monitor, number)
    told = signals.all_of(monitor, [window])
    moved = monitor_words.moving(told)
    another = window_shapes.is_of_another(monitor, window.number)
    reference: JSON = {}
    if not another:
        reference = {**(monitor.reference or {}), **window_shapes.shares_of_reference(monitor)}
    context = {
        **parts.frame(project, monitor, "windows"),
        "title": f"Window {window.number}",
        "window": window,
        "against": monitor_marks.judged_against(monitor, window),
        "before": _beside(project, monitor, window, newer=False),
        "after": _beside(project, monitor, window, newer=True),
        "moved": [monitor_words.changed(one) for one in moved[:NAMED]],
        "more_moved": max(0, len(moved) - NAMED),
        "advice": monitor_words.advice(
            monitor, told, moved, monitor_words.fault_advice([window.scores])
        ),
        "scores": _scores(monitor, window),
        "numbers": numbers(window),
        "slices": _slices(monitor, window),
        "predicted": _predicted(monitor, reference, window),
        "calibration": calibration(reference, window),
        "faults": window.facts.get("faults"),
        "fault_words": drift_series.FAULTS,
        "facts": _facts(window),
        "another": another,
        "scatter": None if another else monitor_scatter.of(project, monitor, window),
        "rows_url": f"{parts.rows_address(project, monitor)}?window={window.number}",
        "id_url": f"{parts.rows_address(project, monitor)}?id=",
    }
    return render(request, "training/monitor_window.html", context)


@require_safe
def monitor_windows(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    """Every window of a stretch, newest first."""
    project, monitor = parts.monitor_of(request, project_slug, name)
    found = parts.stretch(request, monitor, "scores", "facts")
    told = signals.all_of(monitor, found.windows)
    rows = []
    for at, window in enumerate(found.windows):
        levels = [(one.levels[at] or 0.0, one) for one in told if (one.levels[at] or 0.0) >= 1]
        rows.append(
            {
                "window": window,
                "moved": [one.words for _, one in sorted(levels, key=lambda pair: -pair[0])],
                "worst": max((level for level, _ in levels), default=0.0),
            }
        )
    context = {
        **parts.frame(project, monitor, "windows"),
        **parts.ranged(found),
        "windows": found.windows,
        "rows": rows[::-1][:LISTED],
        "more": max(0, len(rows) - LISTED),
    }
    return render(request, "training/monitor_windows.html", context)


def numbers(window: MonitorWindow) -> list[JSON]:
    """What came, as large as can be read from afar."""
    facts = window.facts
    rows = ui.grouped(window.rows)
    late = f"{window.late_rows} after it was judged" if window.late_rows else "all in time"
    made = [{"label": "Rows", "value": rows, "hint": late}]
    for name, label, of in (
        ("agreement", "Agreement", "asked about"),
        ("accuracy", "Accuracy", "with a label"),
        ("span_agreement", "Spans as the teacher's", "asked about"),
        ("span_f1", "Span F1", "with a label"),
    ):
        fact = facts.get(name)
        if isinstance(fact, dict) and fact.get("value") is not None:
            reach = ""
            if fact.get("low") is not None and fact.get("high") is not None:
                reach = f"{ui.span([fact['low'], fact['high']], 0)}, "
            count = round(fact.get("rows") or 0)
            hint = f"{reach}{ui.grouped(count)} row{'' if count == 1 else 's'} {of}"
            made.append({"label": label, "value": ui.percent(fact["value"]), "hint": hint})
    for name, of in (("agreement", "with the teacher"), ("accuracy", "with the label")):
        fact = (facts.get("overlap") or {}).get(name)
        if fact:
            hint = f"on average of {ui.grouped(fact['rows'])} row{'' if fact['rows'] == 1 else 's'}"
            made.append({"label": f"Alike {of}", "value": ui.percent(fact["value"]), "hint": hint})
    estimate = facts.get("estimated_accuracy") or {}
    if estimate.get("value") is not None:
        made.append(
            {"label": "Estimated accuracy", "value": ui.percent(estimate["value"])}
            | {"hint": "by confidence alone"}
        )
    slow = facts.get("latency") or {}
    if slow.get("p95") is not None:
        half = f"half take less than {slow['p50']:.3g}" if slow.get("p50") is not None else ""
        made.append({"label": "Latency p95", "value": f"{slow['p95']:.3g} ms", "hint": half})
    return made


def calibration(reference: JSON, window: MonitorWindow) -> JSON | None:
    """Confidence against accuracy, where rows have labels."""
    now = bins(window.facts.get("believed"))
    if not now:
        return None
    before = bins(reference.get("believed"))
    error = window.facts.get("calibration_error")
    note = "" if error is None else f"calibration error {ui.percent(error)}"
    return {
        "name": "monitor-calibration",
        "title": "Calibration",
        "note": note,
        "height": 280,
        "figure": drift_shapes.calibration(before, now),
    }


def bins(told: Any) -> list[JSON]:
    """`{"rows", "sure", "right"}` by fifteenths of confidence, as reliability diagrams have it."""
    if not isinstance(told, Mapping) or not any(told.get("rows") or ()):
        return []
    return [
        {"count": rows, "confidence": sure / rows, "accuracy": right / rows}
        for rows, sure, right in zip(told["rows"], told["sure"], told["right"], strict=True)
        if rows
    ]


def _beside(project: Project, monitor: Monitor, window: MonitorWindow, *, newer: bool) -> str:
    """The address of the next window that has rows, or of the one before."""
    others = monitor.windows.filter(rows__gt=0)
    if newer:
        others = others.filter(number__gt=window.number).order_by("number")
    else:
        others = others.filter(number__lt=window.number).order_by("-number")
    number = others.values_list("number", flat=True).first()
    if number is None:
        return ""
    return reverse("training:monitor_window", args=[project.slug, monitor.name, number])


def _scores(monitor: Monitor, window: MonitorWindow) -> list[JSON]:
    """Every detector of every signal, the furthest first."""
    rules = Rulebook(monitor)
    made = []
    for key, scores in window.scores.items():
        for score in scores:
            level = rules.level(key, score)
            made.append(
                {
                    "key": key,
                    "words": signals.words(key),
                    "detector": signals.detector_words(str(score.get("detector", ""))),
                    "score": score,
                    "level": level,
                    "state": "says nothing" if level is None else signals.LEVELS[int(level)],
                    "tone": "mute" if level is None else signals.TONES[int(level)],
                }
            )
    return sorted(made, key=lambda one: -(one["level"] if one["level"] is not None else -1.0))


def _slices(monitor: Monitor, window: MonitorWindow) -> JSON | None:
    """Which slice moved in what, as a picture and in rows."""
    if not window.slices:
        return None
    rules = Rulebook(monitor)
    keys: dict[str, None] = {}
    for one in window.slices.values():
        keys |= dict.fromkeys(one.get("scores") or {})
    table = []
    for name, one in window.slices.items():
        scores = one.get("scores") or {}
        levels = []
        for key in keys:
            found = rules.worst(key, scores.get(key) or ())
            levels.append(None if found is None else found[1])
        table.append(
            {
                "name": name,
                "rows": one.get("rows", 0),
                "levels": levels,
                "facts": one.get("facts") or {},
            }
        )
    table.sort(key=lambda one: -max((level or 0.0 for level in one["levels"]), default=0.0))
    for one in table:
        named = zip(one["levels"], keys, strict=True)
        ranked = sorted(((level, key) for level, key in named if (level or 0.0) >= 1), reverse=True)
        one["moved"] = [signals.words(key) for _, key in ranked[:MOST_MOVED]]
    figure = drift.slices(
        [one["name"] for one in table],
        [signals.words(key) for key in keys],
        [one["levels"] for one in table],
    )
    return {
        "figure": figure if any(_is_known(one["levels"]) for one in table) else None,
        "rows": table,
        "height": 130 + 26 * len(table),
    }


def _is_known(levels: Sequence[float | None]) -> bool:
    return any(one is not None for one in levels)


def _predicted(monitor: Monitor, reference: JSON, window: MonitorWindow) -> JSON | None:
    """Predicted classes, labels or tags beside those of the reference."""
    now = window.facts.get("predicted")
    if not now:
        return None
    before = reference.get("predicted") or {}
    names = sorted({*now, *before})
    if not before:  # nothing to compare with: the commonest first
        names.sort(key=lambda one: -now.get(one, 0.0))
    by_word = monitor.task == BY_WORD
    figure = drift_shapes.categories(
        names,
        [before.get(one, 0.0) for one in names],
        [now.get(one, 0.0) for one in names],
        of="words" if by_word else "rows",
    )
    height = 90 + 26 * min(20, len(names))
    what = "tags" if by_word else "labels" if monitor.several_labels else "classes"
    return {
        "name": "monitor-predicted",
        "title": f"Predicted {what}",
        "note": f"{len(names)} {what}" if len(names) > 20 else "",
        "figure": figure,
        "height": height,
    }


def _facts(window: MonitorWindow) -> list[tuple[str, str]]:
    """What is missing, new or out of range, and who answered, in words."""
    facts = window.facts
    made = []
    for name, said in (
        ("missing", "missing"),
        ("unseen", "never seen"),
        ("out_of_range", "out of range"),
    ):
        shares = {key: one for key, one in (facts.get(name) or {}).items() if one}
        for key, one in sorted(shares.items(), key=lambda pair: -pair[1])[:6]:
            made.append((signals.words(key), f"{ui.percent(one)} {said}"))
    if facts.get("duplicated"):
        made.append(("repeated rows", ui.percent(facts["duplicated"])))
    for key, names in (facts.get("unseen_names") or {}).items():
        told = ", ".join(f"{one} ({count})" for one, count in list(names.items())[:6])
        made.append((f"new in {signals.words(key)}", told))
    versions = facts.get("versions") or {}
    if versions:
        told = ", ".join(f"{one or 'not said'} ({count})" for one, count in versions.items())
        made.append(("answered by", told))
    return made
