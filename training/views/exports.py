"""Exports of a version: their table, and the form that makes one. Parts of the version's page."""

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from distillhub.lib import downloads
from distillhub.lib.errors import DomainError, Invalid
from projects import permissions
from projects.models import ModelVersion, Project, Role, User
from projects.services import registry
from training.forms.exports import ExportDraft
from training.services import exports, model_cards, networks
from training.views import export_parts, models

PARTS = {"exports": "_exports_table", "export-form": "_exports_form"}


@require_http_methods(["GET", "POST"])
def model_exports(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    """The part of the version's page that is asked for; POST makes an export."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    version = registry.find(project=project, name=model_name, number=number)
    part = PARTS.get(request.headers.get("HX-Target", ""))
    if request.method == "GET":
        if part is None:
            return redirect(version_page(project, version))
        texts = {name: str(value) for name, value in request.GET.items()}
        return _part(request, part, project, version, ExportDraft(version, texts))
    draft = ExportDraft(version, {name: str(value) for name, value in request.POST.items()})
    user = request.user
    assert isinstance(user, User)
    try:
        exports.make(version=version, asked=draft.asked(), by=user)
    except DomainError as error:
        draft.refuse(error)
        if request.headers.get("HX-Request"):
            return _part(request, "_exports", project, version, draft)
        return models.version_page(request, project, version, draft=draft)
    if request.headers.get("HX-Request"):
        return _part(request, "_exports", project, version, ExportDraft(version, {}))
    return redirect(version_page(project, version))


def version_page(project: Project, version: ModelVersion) -> str:
    """The address of the page that the parts belong to."""
    page = reverse(
        "training:model_version", args=[project.slug, version.model.name, version.number]
    )
    return f"{page}#exports-section"


def _part(
    request: HttpRequest, part: str, project: Project, version: ModelVersion, draft: ExportDraft
) -> HttpResponse:
    context = {
        **export_parts.context(version, draft),
        "project": project,
        "may_edit": project.allows(Role.EDITOR),
    }
    return render(request, f"training/{part}.html", context)


@require_POST
def export_keep(
    request: HttpRequest, project_slug: str, model_name: str, number: int, export_id: int
) -> HttpResponse:
    """A model folder that was made smaller becomes the model's next version."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = registry.find(project=project, name=model_name, number=number)
    export = exports.find(version=version, export_id=export_id)
    source = {"kind": "export", "export": export.pk}
    try:
        made = networks.add_version(
            model=version.model, source=source, by=permissions.person(request)
        )
    except Invalid as error:
        return models.version_page(request, project, version, error.detail)
    return redirect("training:model_version", project.slug, model_name, made.number)


@require_safe
def export_download(
    request: HttpRequest, project_slug: str, model_name: str, number: int, export_id: int
) -> HttpResponseBase:
    project = permissions.project_for(request.user, project_slug)
    version = registry.find(project=project, name=model_name, number=number)
    export = exports.find(version=version, export_id=export_id)
    files = model_cards.beside(version=version, files=exports.files(export=export))
    return downloads.archive(files, name=exports.file_name(export=export))
