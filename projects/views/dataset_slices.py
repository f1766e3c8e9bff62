"""Slices beside the table of rows: listed with their rows, saved, deleted."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST
from rest_framework.serializers import ValidationError

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Role
from projects.operation_forms import refusal
from projects.permissions import person
from projects.services import datasets, slices
from projects.views import dataset_rows

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@get_or_post
def dataset_slices(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    """The slices with their rows in this version, which the table loads by itself; POST saves the
    conditions of an address under a name."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    if request.method == "POST":
        among = QueryDict(request.POST.get("among", "")[: dataset_rows.MOST_ADDRESS])
        asked = dataset_rows.Asked(version, among)
        name = request.POST.get("name", "")[:200]
        try:
            slices.create(
                version=version, name=name, conditions=asked.conditions(), by=person(request)
            )
        except (DomainError, ValidationError) as error:
            messages.error(request, refusal(error).detail)
        else:
            messages.success(request, f"The slice {name.strip()} is saved.")
        return redirect(dataset_rows.rows_url(project, version, among))
    lines = [
        (one, dataset_rows.address_of(version, one.slice.conditions))
        for one in slices.counted(version)
    ]
    context = {"project": project, "version": version, "dataset": version.dataset, "lines": lines}
    return render(request, "projects/_dataset_slices.html", context)


@require_POST
def dataset_slice_delete(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    name = request.POST.get("name", "")[:200]
    try:
        slices.delete(dataset=version.dataset, name=name)
    except DomainError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, f"The slice {name} is deleted.")
    return redirect("projects:dataset_version", project.slug, dataset_name, number)
