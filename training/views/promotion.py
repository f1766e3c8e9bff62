"""Champion and challenger: a version against an alias's rules, the rules, and what it meant."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import ModelVersion, Project, RegisteredModel, Role
from projects.services import registry
from training.forms.promotion import RulesDraft
from training.services import promotion
from training.views import model_tabs, models

USUAL = "production"  # the alias that is looked at first
SHOWN = 20  # changes and attempts


@require_http_methods(["GET", "POST"])
def model_promotion(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    """How a version stands against an alias (`?alias=`); POST promotes it."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    version = registry.find(project=project, name=model_name, number=number)
    if request.method == "GET":
        return _page(request, project, version, request.GET.get("alias", ""))
    alias = request.POST.get("alias", "") or USUAL
    try:
        kept = promotion.promote(
            project=project,
            version=version,
            alias=alias,
            override=request.POST.get("override", ""),
            by=permissions.person(request),
        )
    except DomainError as error:
        return _page(request, project, version, alias, fault=error.detail, status=error.status)
    if kept.moved:
        messages.success(request, f"{alias} means {version.reference} now.")
    else:
        failed = sum(not one["passed"] for one in kept.checks)
        many = f"{failed} of {len(kept.checks)} rules do not hold"
        messages.error(request, f"{version.reference} was not promoted: {many}.")
    return redirect(_address(project, version, alias))


@require_POST
def alias_rules(
    request: HttpRequest, project_slug: str, model_name: str, alias: str
) -> HttpResponse:
    """Set an alias's rules, or (`remove`) take them away."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    model = models.model_called(project, model_name)
    version = _asked_from(model, request.POST.get("version", ""))
    by = permissions.person(request)
    if request.POST.get("remove"):
        try:
            promotion.remove_rules(model=model, alias=alias, by=by)
        except DomainError as error:
            messages.error(request, error.detail)
        return redirect(_address(project, version, alias))
    texts = {name: str(value) for name, value in request.POST.items()}
    draft = RulesDraft.typed(texts, task=model.task)
    try:
        promotion.set_rules(model=model, alias=alias, rules=draft.asked(), by=by)
    except DomainError as error:
        draft.refuse(error)
        return _page(request, project, version, alias, draft=draft)
    messages.success(request, f"From now on {alias} moves when every rule holds.")
    return redirect(_address(project, version, alias))


@require_POST
def alias_rollback(
    request: HttpRequest, project_slug: str, model_name: str, alias: str
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    model = models.model_called(project, model_name)
    try:
        moved = promotion.roll_back(model=model, alias=alias, by=permissions.person(request))
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect("training:model_detail", project.slug, model.name)
    messages.success(request, f"{alias} means {moved.version.reference} again.")
    return redirect(_address(project, moved.version, alias))


def _address(project: Project, version: ModelVersion, alias: str) -> str:
    at = [project.slug, version.model.name, version.number]
    return f"{reverse('training:model_promotion', args=at)}?alias={alias}"


def _asked_from(model: RegisteredModel, number: str) -> ModelVersion:
    """The version on whose page somebody was; else the newest."""
    known = int(number) if number.isascii() and number.isdigit() and len(number) < 9 else None
    return registry.find(project=model.project, name=model.name, number=known)


def _page(
    request: HttpRequest,
    project: Project,
    version: ModelVersion,
    alias: str,
    *,
    draft: RulesDraft | None = None,
    fault: str = "",
    status: int = 200,
) -> HttpResponse:
    model = version.model
    ruled = {one.name: one for one in promotion.ruled(model=model)}
    known = sorted({*ruled, *model.aliases.values_list("name", flat=True)})
    alias = alias or (USUAL if USUAL in known or not known else known[0])
    judgement, refused = None, ""
    try:
        judgement = promotion.judge(version=version, alias=alias)
    except DomainError as error:
        refused = error.detail
    champion = promotion.champion_of(model=model, alias=alias)
    rules = promotion.rules_of(model=model, alias=alias)
    here = _address(project, version, "")
    context = model_tabs.frame(project, version, "promotion") | {
        "alias": alias,
        "offered": [
            (name, f"{here}{name}", name == alias) for name in sorted({*known, alias, USUAL})
        ],
        "champion": champion,
        "judgement": judgement,
        "refused": refused,
        "is_champion": champion is not None and champion.pk == version.pk,
        "rules": rules,
        "kept_rules": ruled.get(alias),
        "draft": draft or RulesDraft(rules, task=model.task),
        "opens_rules": draft is not None,
        "changes": list(promotion.history(model=model, alias=alias)[:SHOWN]),
        "attempts": [_attempt(one) for one in promotion.attempts(model=model, alias=alias)[:SHOWN]],
        "before": promotion.previous(model=model, alias=alias),
        "fault": fault,
    }
    return render(request, "training/model_promotion.html", context, status=status)


def _attempt(kept: Any) -> dict[str, Any]:
    failed = [one for one in kept.checks if not one["passed"]]
    return {"promotion": kept, "failed": failed}
