"""Changing a dataset: the next version, made of an earlier one by an operation."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST
from rest_framework.serializers import ValidationError

from distillhub.lib import forms as form_errors
from distillhub.lib.errors import DomainError, Invalid, Missing
from distillhub.templatetags import ui
from projects import permissions
from projects.models import DatasetVersion, Project, Role
from projects.operation_forms import MOST_LINES, OperationForm, TableField, initial_from, refusal
from projects.operations import registry
from projects.operations.operation import Operation
from projects.permissions import person
from projects.services import datasets, operations, removal

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@get_or_post
def dataset_change(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int, operation: str
) -> HttpResponse:
    """What an operation is to be told. A change of the form (through htmx) shows what it would do;
    sending it makes the next version."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    datasets.require_ready(version)
    found = registry.operations().get(operation)
    if found is None or not found.has_form:
        raise Missing(f"There is no page for an operation {operation}.")
    if request.method != "POST":
        initial = _initial(request, version, found)
        form = OperationForm(found, version, initial=initial)
        return _page(request, project, form, _look(form, {**form.initial, **initial}))
    form = OperationForm(found, version, request.POST)
    looking = bool(request.headers.get("HX-Request")) or "look" in request.POST
    if looking:
        return _page(request, project, form, _look(form, form.options()))
    options = _again(request.POST, version, found) or form.options()
    try:
        made = operations.change(
            version=version, operation=found.key, options=options, by=person(request)
        )
    except (DomainError, ValidationError) as error:
        refused = refusal(error)
        form_errors.show(refused, form)
        return _page(request, project, form, {"refused": _why(form, refused)})
    messages.success(request, f"{made.reference} is being made. {version.reference} stays.")
    return redirect("projects:dataset_version", project.slug, made.dataset.name, made.number)


def _initial(request: HttpRequest, version: DatasetVersion, found: Operation) -> dict[str, Any]:
    """What the address prefills."""
    told = _again(request.GET, version, found)
    return told or initial_from(request.GET, found.Options().get_fields())


def _again(given: QueryDict, version: DatasetVersion, found: Operation) -> dict[str, Any]:
    """What the version `again` was told, if this operation made it; with an `issue`, about the rows
    that it lists."""
    again = given.get("again", "")
    if not (again.isascii() and again.isdigit() and len(again) < 10):
        return {}
    earlier = version.dataset.versions.filter(number=int(again)).first()
    asked = (earlier.operation if earlier else None) or {}
    if earlier is None or asked.get("operation") != found.key:
        return {}
    issue = given.get("issue", "")
    return operations.rest_of(earlier, issue) if issue else dict(asked["options"])


def _look(form: OperationForm, options: dict[str, Any]) -> dict[str, Any]:
    """What the operation would do with these options, or why it cannot be."""
    shape = form.operation.Options().get_fields()
    given = {name: value for name, value in options.items() if value is not None and name in shape}
    try:
        asked: dict[str, Any] = {
            "version": form.version,
            "operation": form.operation.key,
            "options": given,
        }
        tried, estimate = operations.tried(**asked), operations.estimated(**asked)
    except (DomainError, ValidationError) as error:
        return {"refused": _why(form, refusal(error))}
    return {"tried": tried, "estimate": estimate, "refused": ""}


def _why(form: OperationForm, refused: Invalid) -> str:
    """Why it cannot be, with the name of the field that it is about."""
    field, sentences = next(iter(refused.fields.items()), ("", [refused.detail]))
    if "This field is required." in sentences:
        return "Say what is to be done, and see here what comes of it."
    tells = sentences[0].startswith(("Say ", "Give ", "Choose "))
    about = f"{form.fields[field].label}: " if field in form.fields and not tells else ""
    return f"{about}{' '.join(sentences)}"


def _page(
    request: HttpRequest, project: Project, form: OperationForm, looked: dict[str, Any]
) -> HttpResponse:
    version, found = form.version, form.operation
    dataset = version.dataset
    parts = [project.slug, dataset.name]
    context = {
        "project": project,
        "section": "datasets",
        "title": f"{found.label}: {version.reference}",
        "crumb": found.label,
        "crumbs": [
            ("Datasets", reverse("projects:dataset_list", args=[project.slug])),
            (
                version.reference,
                reverse("projects:dataset_version", args=[*parts, version.number]),
            ),
        ],
        "dataset": dataset,
        "version": version,
        "operation": found,
        "form": form,
        "groups": [
            (words, [(form[name], _lines(form, name)) for name in names], is_open)
            for words, names, is_open in form.groups()
        ],
        "following": f"{dataset.name}@{dataset.next_number()}",
        "others": operations.offered(version),
        "most_lines": MOST_LINES,
        **looked,
    }
    fragment = bool(request.headers.get("HX-Request"))
    template = "projects/_operation_tried.html" if fragment else "projects/dataset_change.html"
    status = 400 if form.is_bound and form.errors and not fragment else 200
    return render(request, template, context, status=status)


def _lines(form: OperationForm, name: str) -> list[dict[str, Any]] | None:
    return form.lines(name) if isinstance(form.fields[name], TableField) else None


@require_POST
def dataset_version_delete(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    try:
        removed = removal.delete_version(version=version, by=person(request))
    except removal.InUse as error:
        messages.error(request, error.detail)
        return redirect("projects:dataset_version", project.slug, dataset_name, number)
    messages.success(request, f"{dataset_name}@{number} is deleted. {_freed(removed)}")
    if project.datasets.filter(name=dataset_name).exists():
        return redirect("projects:dataset_detail", project.slug, dataset_name)
    return redirect("projects:dataset_list", project.slug)


@require_POST
def dataset_delete(request: HttpRequest, project_slug: str, dataset_name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    dataset = datasets.get(project=project, name=dataset_name)
    try:
        removed = removal.delete_dataset(dataset=dataset, by=person(request))
    except removal.InUse as error:
        messages.error(request, error.detail)
        return redirect("projects:dataset_detail", project.slug, dataset_name)
    messages.success(request, f"{dataset_name} is deleted. {_freed(removed)}")
    return redirect("projects:dataset_list", project.slug)


def _freed(removed: removal.Removed) -> str:
    size = ui.filesize(removed.bytes)
    return f"{size} are freed within a day." if removed.bytes else "Its files are used elsewhere."
