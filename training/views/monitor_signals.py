"""The signals of a monitor: all in a table, or one of them over time and beside its reference."""

import itertools
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from distillhub.lib.errors import Missing
from training.models import Monitor
from training.services import signals
from training.services.signals import Signal
from training.views import monitor_charts as charts
from training.views import monitor_parts as parts
from training.views import monitor_shapes as shapes
from training.views.monitor_parts import Stretch

JSON = dict[str, Any]

SORTS = {
    "kind": ("Signal", lambda one: (signals.GROUPS.index(one.group), one.words)),
    "level": ("Now", lambda one: (-(one.level if one.level is not None else -1), one.words)),
    "worst": ("Worst", lambda one: (-one.worst, one.words)),
    "beyond": ("Windows beyond", lambda one: (-one.beyond, one.words)),
}
TREND = 60  # points of a tiny trend: its pixels
MOST_WINDOWS = 20  # that are listed below a signal


@require_safe
def monitor_signals(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project, monitor = parts.monitor_of(request, project_slug, name)
    key = request.GET.get("signal", "")
    # Versions, of which charts have marks, stand in facts.
    found = parts.stretch(request, monitor, "scores", *(("facts",) if key else ()))
    told = signals.all_of(monitor, found.windows)
    context = {
        **parts.frame(project, monitor, "signals"),
        **parts.ranged(found),
        "windows": found.windows,
        "here": request.path,
    }
    if key:
        one = next((one for one in told if one.key == key), None)
        if one is None and found.windows:
            raise Missing(f"No window of this stretch tells of {key[:100]}.")
        if one is not None:
            address = reverse("training:monitor_window", args=[project.slug, monitor.name, 0])
            context |= {"window_url": address, **_one(request, monitor, found, one)}
            return render(request, "training/monitor_signal.html", context)
    sort = request.GET.get("sort", "")
    sort = sort if sort in SORTS else "level"
    context |= {
        "sort": sort,
        "sorts": [(name, words) for name, (words, _) in SORTS.items()],
        "rows": [
            {"signal": one, "trend": trend(one), "rows": _counted(one)}
            for one in sorted(told, key=SORTS[sort][1])
        ],
    }
    return render(request, "training/monitor_signals.html", context)


def trend(signal: Signal) -> str:
    """Points of an SVG polyline in a box of 100 by 24, at whose height 16 lies level 1."""
    levels = [one for one in signal.levels if one is not None]
    if len(levels) < 2:
        return ""
    count = min(TREND, len(levels))
    # Of each stretch the worst, so that no spike is lost.
    edges = [round(at * len(levels) / count) for at in range(count + 1)]
    worst = [max(levels[start:end]) for start, end in itertools.pairwise(edges)]
    last = len(worst) - 1
    return " ".join(
        f"{at * 100 / last:.1f},{23 - min(3.0, level) * 7:.1f}" for at, level in enumerate(worst)
    )


def _counted(signal: Signal) -> int:
    return sum(one is not None for one in signal.levels)


def _one(request: HttpRequest, monitor: Monitor, found: Stretch, one: Signal) -> JSON:
    detectors: dict[str, None] = {}
    for window in found.windows:
        scores = window.scores.get(one.key) or ()
        detectors |= dict.fromkeys(str(score.get("detector", "")) for score in scores)
    incidents = monitor.incidents.only("signals", "since", "closed_at", "severity").all()[:200]
    drawn = [charts.signal(monitor, found, one.key, each, incidents) for each in detectors]
    number = _whole(request.GET.get("window", ""))
    rules = signals.Rulebook(monitor)
    listed = []
    for window in reversed(found.windows):
        worst = rules.worst(one.key, window.scores.get(one.key) or ())
        if worst is not None and worst[1] >= 1:
            listed.append({"window": window, "score": worst[0], "level": worst[1]})
    score = one.score or {}
    return {
        "signal": one,
        "charts": charts.with_marks(drawn, found),
        "detector": signals.detector_words(str(score.get("detector", ""))) if score else "",
        "unit": signals.unit(str(score.get("detector", ""))) if score else "",
        "effect_unit": signals.effect_unit(str(score.get("detector", ""))) if score else "",
        "rules": rules.of(one.key, str(score.get("detector", ""))) if score else None,
        "beyond": listed[:MOST_WINDOWS],
        "more_beyond": max(0, len(listed) - MOST_WINDOWS),
        "shape": shapes.of(monitor, found, one.key, number),
        "chosen": number,
    }


def _whole(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 19 else None
