"""Retrainings: those of a monitor with its policy, and one with its steps and its judgement."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from distillhub.lib.errors import DomainError
from distillhub.templatetags import ui
from projects import permissions
from projects.models import Project, Role, User
from training.forms.retraining import PolicyDraft
from training.models import Monitor, Retraining
from training.retraining import beginning, deciding, judging, policies, reading
from training.services import monitor_health, monitors, retraining_policy
from training.worker import comparison

SHOWN = 100
Status = Retraining.Status
#: What a timeline shows, in its order, before it has happened.
WAY = (
    (Status.PROPOSED, "Proposed"),
    (Status.COLLECTING, "Live rows"),
    (Status.LABELLING, "Labels"),
    (Status.REVIEWING, "Review"),
    (Status.TRAINING, "Challenger"),
    (Status.JUDGING, "Judgement"),
    (Status.DECIDING, "Decision"),
)
#: How the station is drawn at which one ended that did not come through.
ENDED = {str(Status.FAILED): "bad", str(Status.CANCELLED): "left"}


@require_http_methods(["GET", "HEAD", "POST"])
def monitor_retraining(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    """The policy and what came of it; POST sets the policy."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    monitor = monitors.find(project=project, name=name)
    if request.method != "POST":
        return _policy_page(request, project, monitor)
    draft = PolicyDraft.typed({key: str(value) for key, value in request.POST.items()})
    try:
        policies.keep(monitor=monitor, asked=draft.asked(), by=permissions.person(request))
    except DomainError as error:
        draft.refuse(error)
        return _policy_page(request, project, monitor, draft=draft)
    messages.success(request, "Kept. What has begun goes on by the policy that it began with.")
    return redirect("training:monitor_retraining", project.slug, monitor.name)


@require_POST
def retraining_begin(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    """Begin one by hand, or (`incident`) as the answer to an incident."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    monitor = monitors.find(project=project, name=name)
    asked = request.POST.get("incident", "")
    try:
        incident = None
        if asked:
            number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 0
            incident = reading.incident(project=project, number=number)
        made = beginning.begin(monitor=monitor, incident=incident, by=permissions.person(request))
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect("training:monitor_retraining", project.slug, monitor.name)
    return redirect("training:retraining_detail", project.slug, made.number)


@require_safe
def retraining_detail(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    found = reading.find(project=project, number=number)
    monitor = found.monitor
    judgement = found.judgement or {}
    crumbs = [
        ("Monitors", reverse("training:monitor_list", args=[project.slug])),
        (
            monitor.name,
            reverse("training:monitor_retraining", args=[project.slug, monitor.name]),
        ),
    ]
    context = {
        "title": f"Retraining {found.number}",
        "section": "monitors",
        "project": project,
        "crumbs": crumbs,
        "crumb": f"#{found.number}",
        "retraining": found,
        "monitor": monitor,
        "way": _way(found),
        "compared": [
            _compared("Old test rows", judgement.get("old"), judgement),
            _compared("Live test rows", judgement.get("new"), judgement),
        ]
        if judgement
        else [],
        "checks": [
            *judgement.get("gate", []),
            *(judgement.get("alias") or {}).get("checks", []),
        ],
        "alias": retraining_policy.alias_of(monitor, found.policy),
        "gate_holds": bool(judgement.get("passed")),
        "can_roll_back": deciding.can_roll_back(found),
        "control": found.run.controls.first() if found.run is not None else None,
        "refusal": beginning.refusal(monitor) if found.status == Status.PROPOSED else "",
        "sentences": retraining_policy.told(monitor, found.policy),
        "is_live": not found.is_final and found.status not in (Status.PROPOSED, Status.DECIDING),
        **_may(project),
    }
    return render(request, "training/retraining_detail.html", context)


def _act(act: Callable[[Retraining, User, HttpRequest], str]) -> Callable[..., HttpResponse]:
    """A view that does one thing to a retraining, and says what."""

    @require_POST
    def view(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
        project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
        found = reading.find(project=project, number=number)
        found.project = project  # which knows the role of whoever asks
        try:
            messages.success(request, act(found, permissions.person(request), request))
        except DomainError as error:
            messages.error(request, error.detail)
        return redirect("training:retraining_detail", project.slug, found.number)

    return view


@_act
def retraining_start(found: Retraining, by: User, request: HttpRequest) -> str:
    beginning.start(retraining=found, by=by)
    return "It has begun: live rows are collected."


@_act
def retraining_decide(found: Retraining, by: User, request: HttpRequest) -> str:
    """`promote` is yes or no; `override` an owner's reason."""
    deciding.decide(
        retraining=found,
        promote=request.POST.get("promote") == "yes",
        by=by,
        override=request.POST.get("override", ""),
    )
    return str(found.sentence)


@_act
def retraining_cancel(found: Retraining, by: User, request: HttpRequest) -> str:
    deciding.cancel(retraining=found, by=by)
    return "Ended. What it made stays."


@_act
def retraining_rollback(found: Retraining, by: User, request: HttpRequest) -> str:
    deciding.roll_back(retraining=found, by=by)
    return str(found.sentence)


# -- what pages show ------------------------------------------------------------------------------


def _policy_page(
    request: HttpRequest, project: Project, monitor: Monitor, draft: PolicyDraft | None = None
) -> HttpResponse:
    policy = retraining_policy.of(monitor)
    found = list(reading.listed(project=project, monitor=monitor)[:SHOWN])
    never = beginning.lasting_refusal(monitor)
    context = {
        "title": f"{monitor.name}: retraining",
        "section": "monitors",
        "project": project,
        "crumbs": [("Monitors", reverse("training:monitor_list", args=[project.slug]))],
        "crumb": monitor.name,
        "monitor": monitor,
        "health": monitor_health.health(monitor),
        "tab": "retraining",
        "retrainings": found,
        "is_under_way": any(not one.is_final for one in found),
        "sentences": retraining_policy.told(monitor, policy),
        "refusal": never or beginning.quality_refusal(monitor),
        # Where no policy could begin anything there is none to read.
        "can_ever": not never,
        "draft": draft or PolicyDraft(policy),
        "opens_form": draft is not None,
        **_may(project),
    }
    return render(request, "training/monitor_retraining.html", context)


def _may(project: Project) -> dict[str, bool]:
    active = project.archived_at is None
    return {
        "may_edit": active and project.allows(Role.EDITOR),
        "is_owner": active and project.allows(Role.OWNER),
    }


def _way(found: Retraining) -> list[dict[str, Any]]:
    """The stations of the timeline: each with what happened there, and whether it is over."""
    happened: dict[str, list[dict[str, Any]]] = {}
    for one in found.steps:
        station = str(Status.DECIDING) if one["was"] in Retraining.FINAL else one["was"]
        happened.setdefault(station, []).append(one | {"when": parse_datetime(one["at"])})
    way = [
        (key, label)
        for key, label in WAY
        if key != Status.REVIEWING or found.policy["review_rows"] or key in happened
    ]
    last = found.steps[-1]["was"] if found.steps else str(Status.PROPOSED)
    now = last if found.is_final and last not in Retraining.FINAL else found.status
    order = [str(key) for key, _ in way]
    at = order.index(now) if now in order else len(order) - 1
    stations = []
    for place, (key, label) in enumerate(way):
        if found.is_final and place > at:
            break
        state = "over" if place < at else "now" if place == at else "next"
        if found.is_final and place == at:
            state = ENDED.get(found.status, "over")
        told = happened.get(str(key), [])
        said = found.get_status_display() if state == "now" else ""
        if state == "now" and found.sentence not in {one["sentence"] for one in found.steps}:
            said = found.sentence
        stations.append({"label": label, "steps": told, "state": state, "said": said})
    return stations


def _compared(
    where: str, found: dict[str, Any] | None, judgement: dict[str, Any]
) -> dict[str, Any]:
    """A line of the table: both values, the difference and its interval, as they are spelt."""
    if not found or not found.get("rows"):
        return {"where": where, "rows": 0, "sentence": (found or {}).get("sentence", "")}
    measure = comparison.MEASURES[judgement["metric"]]
    spelt = ui.percent if measure.factor == 100 else (lambda value: f"{value:.4g}")
    low, high = found["interval"]
    return {
        **found,
        "where": where,
        "metric": measure.metric,
        "spelt_champion": spelt(found["champion"]),
        "spelt_challenger": spelt(found["challenger"]),
        "spelt_difference": f"{measure.difference(found['difference'])} {measure.unit}".strip(),
        "spelt_interval": f"{measure.difference(low)} to {measure.difference(high)}",
        "spelt_p": "" if found["mcnemar_p"] is None else judging.spelt_p(found["mcnemar_p"]),
    }
