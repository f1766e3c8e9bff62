"""Shipping a version to others: the bundle that runs by itself, and repositories of a hub."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.request import QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import ModelVersion, Project, Role
from projects.services import registry
from training.models import Export
from training.services import bundles, exports, publishing
from training.views import model_tabs

SHOWN = 20
PARTS = {"publications": "_publications"}


@sensitive_post_parameters("token")
@require_http_methods(["GET", "POST"])
def model_publish(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    """POST sends the version to a hub."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    version = registry.find(project=project, name=model_name, number=number)
    if request.method == "GET":
        return _page(request, project, version)
    try:
        publishing.publish(
            version=version, asked=_asked(request.POST), by=permissions.person(request)
        )
    except DomainError as error:
        faults = dict(error.fields) or {"": [error.detail]}
        return _page(request, project, version, texts=request.POST, faults=faults)
    return redirect("training:model_publish", project.slug, model_name, number)


@require_POST
def model_bundle(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    """Have a bundle made."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = registry.find(project=project, name=model_name, number=number)
    options: dict[str, Any] = {"int8": bool(request.POST.get("int8"))}
    if request.POST.get("without_rows"):
        options["examples"] = 0
    try:
        bundles.make(version=version, options=options, by=permissions.person(request))
    except DomainError as error:
        messages.error(request, error.detail)
    return redirect("training:model_publish", project.slug, model_name, number)


def _asked(texts: QueryDict) -> dict[str, Any]:
    chosen = [int(one) for one in texts.getlist("exports") if one.isascii() and one.isdigit()]
    return {
        "repository": texts.get("repository", ""),
        "revision": texts.get("revision", ""),
        "private": bool(texts.get("private")),
        "weights": bool(texts.get("weights")),
        "exports": chosen,
        "message": texts.get("message", ""),
        "token": texts.get("token", ""),
    }


def _page(
    request: HttpRequest,
    project: Project,
    version: ModelVersion,
    *,
    texts: QueryDict | None = None,
    faults: dict[str, Any] | None = None,
) -> HttpResponse:
    listed = list(publishing.listed(version=version)[:SHOWN])
    bundle = bundles.newest(version=version)
    part = PARTS.get(request.headers.get("HX-Target", ""))
    ready = [one for one in exports.listed(version=version)[:50] if one.status == "ready"]
    chosen = texts.getlist("exports") if texts is not None else []
    last = listed[0] if listed else None
    context = model_tabs.frame(project, version, "publish") | {
        "bundle": bundle,
        "bundle_ready": bundle is not None and bundle.status == Export.Status.READY,
        "bundle_refused": bundles.refusal(version=version),
        "publications": listed,
        "unfinished": any(not one.is_final for one in listed)
        or (bundle is not None and not bundle.is_final),
        "endpoint": publishing.endpoint(),
        "kept": publishing.token_of(model=version.model),
        "offered": [(one, str(one.pk) in chosen) for one in _newest_of_each(ready)],
        "typed": {
            "repository": _typed(texts, "repository", last.repository if last else ""),
            "revision": _typed(texts, "revision", last.revision if last else "main"),
            "message": _typed(texts, "message", ""),
            "private": bool(texts.get("private")) if texts is not None else True,
            "weights": bool(texts.get("weights")) if texts is not None else True,
        },
        "faults": faults or {},
    }
    return render(request, f"training/{part or 'model_publish'}.html", context)


def _typed(texts: QueryDict | None, name: str, usual: str) -> str:
    return texts.get(name, "") if texts is not None else usual


def _newest_of_each(ready: list[Export]) -> list[Export]:
    """Of each form one: in a repository each has one folder."""
    found: dict[str, Export] = {}
    for one in ready:
        found.setdefault(one.format, one)
    return list(found.values())
