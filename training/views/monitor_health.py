"""How a shipped student is: one sentence, what moved, and what to do; kept current while it is
looked at."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_safe

from distillhub.templatetags import ui
from training.models import Monitor, MonitorLook, MonitorWindow
from training.services import monitor_words, set_aside, signals
from training.services.monitor_health import Health
from training.services.signals import Signal
from training.views import monitor_charts as charts
from training.views import monitor_parts as parts
from training.views.monitor_parts import Stretch
from training.worker import monitor_teacher

JSON = dict[str, Any]
NOW = "training/_monitor_now.html"
STRIP = "monitor-health"


@require_safe
def monitor_health(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project, monitor = parts.monitor_of(request, project_slug, name)
    found = parts.stretch(request, monitor, "scores", "facts")
    told = signals.all_of(monitor, found.windows)
    frame = parts.frame(project, monitor, "health")
    drawn = _charts(monitor, found, told)
    context = {
        **frame,
        **parts.ranged(found),
        **_now(monitor, frame["health"], found, told),
        "windows": found.windows,
        "strip": next((one for one in drawn if one["name"] == STRIP), None),
        "charts": [one for one in drawn if one["name"] != STRIP],
        "mark": _mark(monitor),
        "live": reverse("training:monitor_live", args=[project.slug, monitor.name]),
        "window_url": reverse("training:monitor_window", args=[project.slug, monitor.name, 0]),
        "query": request.GET.urlencode(),
    }
    return render(request, "training/monitor_health.html", context)


@require_safe
def monitor_live(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    """204 while nothing is new since `known`; else the sentence, the numbers and every figure."""
    project, monitor = parts.monitor_of(request, project_slug, name)
    mark = _mark(monitor)
    if request.GET.get("known") == mark:
        return HttpResponse(status=204)
    found = parts.stretch(request, monitor, "scores", "facts")
    told = signals.all_of(monitor, found.windows)
    frame = parts.frame(project, monitor, "health")
    context = {
        **frame,
        **_now(monitor, frame["health"], found, told),
        "windows": found.windows,
    }
    return JsonResponse(
        {
            "mark": mark,
            "html": render_to_string(NOW, context, request=request),
            "figures": {one["name"]: one["figure"] for one in _charts(monitor, found, told)},
        }
    )


def _mark(monitor: Monitor) -> str:
    """Another whenever there is something new to show."""
    window = monitor.windows.order_by("-number").values_list("number", "rows", "judged_at").first()
    incident = monitor.incidents.order_by("-pk").values_list("pk", "closed_at", "severity").first()
    look = None if monitor.is_fitted else _fitting(monitor)
    fitting = look and (look.pk, look.status)
    is_spent = monitor_teacher.is_spent(monitor)
    state = (monitor.rows, monitor.is_paused, monitor.fitted_at, fitting, is_spent)
    return str((window, incident, *state))


def _now(monitor: Monitor, health: Health, found: Stretch, told: list[Signal]) -> JSON:
    standing = monitor_words.standing(monitor, found.windows, told, health.incident)
    return {
        "standing": standing,
        "has_set_aside": bool(health.trouble and set_aside.told(monitor=monitor)),
        "incident": health.incident,
        "numbers": _numbers(monitor, found),
        "fitting": _fitting(monitor) if standing.kind == "fitting" else None,
        "newest": found.windows[-1] if found.windows else None,
    }


def _fitting(monitor: Monitor) -> MonitorLook | None:
    """How far a worker is with the reference, or why it gave up."""
    return monitor.looks.filter(fits=True).first()


def _numbers(monitor: Monitor, found: Stretch) -> list[JSON]:
    """The few that matter: as large as can be read from afar."""
    windows = found.windows
    made = []
    for name, label in (
        ("agreement", "Agreement"), ("accuracy", "Accuracy"), ("span_f1", "Span F1"),
    ):  # fmt: skip
        fact = monitor_words.newest_fact(windows, name)
        if isinstance(fact, dict) and fact.get("value") is not None:
            before = charts.reference_of(monitor, name, "value")
            made.append(_share(label, fact, before, _of(fact) + _if_old(windows, name)))
    estimate = monitor_words.newest_fact(windows, "estimated_accuracy")
    if isinstance(estimate, dict) and estimate.get("value") is not None:
        made.append(
            {"label": "Estimated accuracy", "value": ui.percent(estimate["value"])}
            | {"hint": "by confidence alone; see its caveat"}
        )
    sure = monitor_words.newest_fact(windows, "confidence")
    if isinstance(sure, dict) and sure.get("mean") is not None:
        before = charts.reference_of(monitor, "confidence", "mean")
        made.append(_share("Confidence", {"value": sure["mean"]}, before, "on average"))
    slow = monitor_words.newest_fact(windows, "latency")
    if isinstance(slow, dict) and slow.get("p95") is not None:
        made.append(
            {"label": "Latency", "value": f"{slow['p95']:.3g} ms", "hint": "95 of 100 take less"}
        )
    if windows:
        made.append(
            {"label": "Rows", "value": ui.grouped(windows[-1].rows)}
            | {"hint": "in the newest window"}
        )
    return made[:5]


def _of(fact: JSON) -> str:
    rows = round(fact.get("rows") or 0)
    return f"of {ui.grouped(rows)} row{'' if rows == 1 else 's'}"


def _if_old(windows: Sequence[MonitorWindow], name: str) -> str:
    """That newer windows, which may be another world, say nothing of it."""
    for back, window in enumerate(reversed(windows)):
        if window.facts.get(name) is not None:
            return f", before the newest {back} windows" if back >= monitor_words.RECENT else ""
    return ""


def _share(label: str, fact: JSON, before: float | None, of: str) -> JSON:
    value = fact["value"]
    hint = of if before is None else f"{of}; {ui.percent(before)} on the reference"
    low = before is not None and fact.get("high") is not None and fact["high"] < before
    return {"label": label, "value": ui.percent(value), "hint": hint, "tone": "bad" if low else ""}


def _charts(monitor: Monitor, found: Stretch, told: list[Signal]) -> list[JSON]:
    """The picture of all, then what else there are numbers of."""
    if not found.windows:
        return []
    made = []
    if any(level is not None for one in told for level in one.levels):
        made.append(charts.strip(monitor, found, told))
    if charts.knows(found, "agreement"):
        made.append(charts.agreement(monitor, found))
    if charts.knows(found, "accuracy", "estimated_accuracy"):
        made.append(charts.accuracy(monitor, found))
    if charts.knows(found, "confidence"):
        made.append(charts.confidence(monitor, found))
    made.append(charts.volume(monitor, found))
    if charts.knows(found, "latency"):
        made.append(charts.latency(found))
    return charts.with_marks(made, found)
