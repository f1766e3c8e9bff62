"""Accuracy against what it costs: the frontier, every number, and when distilling is paid back."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from distillhub.lib.errors import DomainError
from distillhub.templatetags import ui
from projects import permissions
from projects.models import Project
from training.charts import tradeoffs
from training.services import break_even, pareto
from training.services.break_even import BreakEven
from training.services.pareto import Found, Placed

UNITS = {"latency": "milliseconds", "size": "bytes", "energy": "Wh", "cost": "your currency"}


@require_safe
def pareto_page(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    asked = request.GET.dict()
    fault = ""
    try:
        found, paid = break_even.answer(project=project, address=asked)
    except DomainError as error:
        fault = error.detail
        found, paid = break_even.answer(project=project, address={})
    context = {
        "title": "Pareto",
        "section": "pareto",
        "project": project,
        "fault": fault,
        "found": found,
        "kept": _kept(found, asked),
        "axes": [("x", pareto.X_AXES), ("y", pareto.Y_AXES)],
        "charts": charts(found, paid),
        "rows": [_row(project, found, one) for one in found.placed if one.is_drawn],
        "others": [_row(project, found, one) for one in found.placed if not one.is_drawn],
        "paid": paid,
        "students": break_even.students(found),
        "counted": break_even.COUNTED,
        "teachers": break_even.teachers(found, paid.student) if paid is not None else [],
        "rest_address": reverse("api_pareto", args=[project.slug])
        + (f"?{urlencode(asked)}" if asked else ""),
    }
    return render(request, "training/pareto.html", context, status=400 if fault else 200)


def charts(found: Found, paid: BreakEven | None) -> list[dict[str, Any]]:
    """The frontier, and both lines of cost where a student and its teacher were measured."""
    if not found.placed:
        return []
    asked = found.asked
    is_share = asked.y == "retention" or ui.is_share(found.metric)
    name = "retention" if asked.y == "retention" else ui.measure(found.metric)
    batch = f" at batch {asked.batch}" if asked.x in ("latency", "cost") else ""
    marks = [
        tradeoffs.Mark(
            name=one.point.name,
            kind="shipped" if one.point.form else one.point.role,
            x=one.x,
            y=one.y,
            on_frontier=one.on_frontier,
            said=_said(one),
        )
        for one in found.placed
    ]
    where = f", on {found.machine.label}" if found.machine and asked.x != "size" else ""
    made = [
        {
            "name": "pareto",
            "title": f"{name[:1].upper()}{name[1:]} against {pareto.X_AXES[asked.x]}",
            "note": f"{found.split} rows of {asked.dataset.partition(':')[0]}{where}",
            "height": 440,
            "figure": tradeoffs.frontier(
                marks,
                x=f"{pareto.X_AXES[asked.x]}{batch}",
                x_unit=UNITS[asked.x],
                y=f"{name}, {found.split}",
                is_share=is_share,
                less_is_better=found.falls,
            ),
        }
    ]
    if paid is not None:
        made.append(
            {
                "name": "break-even",
                "title": "When it has paid for itself",
                "note": f"{paid.student.point.name} instead of {paid.teacher.point.name}",
                "height": 440,
                "figure": tradeoffs.break_even(
                    teacher=paid.teacher.point.name,
                    student=paid.student.point.name,
                    total=paid.total,
                    teacher_call=paid.teacher_call,
                    student_call=paid.student_call,
                    calls=paid.calls,
                ),
            }
        )
    return made


def _said(one: Placed) -> str:
    size = ui.filesize(one.point.size_bytes)
    return f"{size}, kept {ui.percent(one.retention)}" if one.retention is not None else size


def _row(project: Project, found: Found, one: Placed) -> dict[str, Any]:
    name, _, number = one.point.reference.partition("@")
    url = ""
    if name and number.isdecimal():
        url = reverse("training:model_version", args=[project.slug, name, number])
    elif one.point.run is not None:
        url = reverse("training:run_detail", args=[project.slug, one.point.run])
    return {"placed": one, "point": one.point, "url": url, "missing": _missing(found, one)}


def _missing(found: Found, one: Placed) -> str:
    """Why it is not drawn."""
    if one.is_drawn:
        return ""
    if one.y is None:
        return "no teacher's score" if one.score is not None else f"not scored on {found.split}"
    if one.speed is None and one.point.speeds:
        return "measured on another machine"
    return "never measured"


def _kept(found: Found, asked: dict[str, str]) -> dict[str, Any]:
    """What each control of the form shows."""
    return {
        "dataset": found.asked.dataset,
        "x": found.asked.x,
        "y": found.asked.y,
        "machine": found.asked.machine,
        "batch": found.asked.batch,
        "price_per_hour": f"{found.asked.price_per_hour:g}",
        "energy_price": f"{found.asked.energy_price:g}",
        "count": asked.get("count") or "control",
        "study": found.asked.study or "",
    }
