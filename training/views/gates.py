"""How good a version is as a teacher: a part of the version's page, and the form that asks it."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.ingest.formats import TOKENS_TASK
from projects.models import ModelVersion, Project, Role, User
from projects.services import registry
from training.charts import fidelity
from training.engine import shares
from training.engine.export_config import FALLING
from training.models import TeacherGate
from training.services import gates

SHOWN = 20  # gates, the newest first


@require_http_methods(["GET", "POST"])
def model_gates(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    """The part of the version's page; POST asks the version about a dataset."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    version = registry.find(project=project, name=model_name, number=number)
    live = bool(request.headers.get("HX-Request"))
    fault = ""
    if request.method == "POST":
        assert isinstance(request.user, User)
        try:
            gates.ask(version=version, dataset=request.POST.get("dataset"), by=request.user)
        except DomainError as error:
            if not live:
                raise
            fault = error.detail
    if not live:
        return redirect(section(project, version))
    shown = {
        **context(version),
        "project": project,
        "gate_fault": fault,
        "may_edit": project.allows(Role.EDITOR),
    }
    return render(request, "training/_gates.html", shown)


def section(project: Project, version: ModelVersion) -> str:
    """The address of the part within the version's page."""
    page = reverse(
        "training:model_version", args=[project.slug, version.model.name, version.number]
    )
    return f"{page}#gates-section"


def context(version: ModelVersion) -> dict[str, Any]:
    """For `_gates.html`."""
    listed = list(gates.listed(version=version)[:SHOWN])
    ready = next((one for one in listed if one.report is not None), None)
    suggested = gates.suggested(version=version)
    newest: dict[int, TeacherGate] = {}  # of each dataset
    for one in listed:
        newest.setdefault(one.dataset_version_id, one)
    return {
        "version": version,
        "model": version.model,
        "gate_rows": [_row(one) for one in newest.values()],
        "gate": None if ready is None else _told(ready),
        "gates_unfinished": any(not one.is_final for one in listed),
        "gate_datasets": gates.choices(version=version),
        "gate_dataset": suggested.reference if suggested is not None else "",
        "is_scored": version.model.task != gates.UNSCORED,
    }


def _row(gate: TeacherGate) -> dict[str, Any]:
    report = gate.report or {}
    metric = report.get("metric", "")
    return {
        "gate": gate,
        "metric": metric,
        "value": report.get("metrics", {}).get(metric),
        "recommended": report.get("recommended"),
    }


def _told(gate: TeacherGate) -> dict[str, Any]:
    """The newest report, in numbers that the template only has to write."""
    report: Mapping[str, Any] = gate.report or {}
    metric = report["metric"]
    alone = gates.alone_beside(gate=gate)
    mine = report["metrics"].get(metric)
    warning = ""
    if alone is not None and isinstance(mine, float | int):
        known = gates.Known(metric, float(mine))
        if not known.beats(alone):
            warning = (
                f"A student alone reached {gates.spelt(alone)} in run {alone.run}: this teacher "
                f"knows no more."
            )
    bins = report.get("reliability")
    return {
        "gate": gate,
        "report": report,
        "metric": metric,
        "value": mine,
        "interval": _interval(gate, metric, mine),
        "falls": metric in FALLING,
        "scores": [(name, value) for name, value in report["metrics"].items() if name != metric],
        "baseline": report.get("baseline"),
        "alone": alone,
        "is_fine": report["recommended"] and not warning and not report.get("nearly_hard"),
        "warning": warning,
        "softness": report["softness"],
        "reliability": fidelity.reliability([], bins) if bins else None,
    }


def _interval(gate: TeacherGate, metric: str, value: Any) -> list[float] | None:
    """Of an accuracy over rows. Words stand in sentences, which Wilson's interval knows nothing
    of."""
    report = gate.report or {}
    if metric != "accuracy" or gate.version.model.task == TOKENS_TASK:
        return None
    labelled = report.get("labelled")
    return shares.wilson(float(value), labelled) if labelled and value is not None else None
