"""Templates of prompts: what there is, and the versions of one."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from distillhub.lib import forms as form_errors
from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Project, Role
from projects.operation_forms import PromptForm, PromptTextForm
from projects.permissions import person
from projects.services import prompts

get_or_post = require_http_methods(["GET", "HEAD", "POST"])

MOST_LISTED = 500


@require_safe
def prompt_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    context = _frame(project, "Templates") | {
        "prompts": prompts.of_project(project)[:MOST_LISTED],
    }
    return render(request, "projects/prompt_list.html", context)


@get_or_post
def prompt_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    form = PromptForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = prompts.create(project=project, **form.cleaned_data, by=person(request))
        except DomainError as error:
            form_errors.show(error, form)
        else:
            messages.success(request, f"{made.reference} is there.")
            return redirect("projects:prompt_detail", project.slug, made.template.name)
    context = _frame(project, "New template", inside=True) | {"form": form}
    status = 400 if request.method == "POST" else 200
    return render(request, "projects/prompt_new.html", context, status=status)


@get_or_post
def prompt_detail(request: HttpRequest, project_slug: str, prompt_name: str) -> HttpResponse:
    """Its versions; sending another text makes the next one."""
    role = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=role)
    template = prompts.get(project=project, name=prompt_name)
    versions = list(template.versions.select_related("created_by")[:MOST_LISTED])
    form: forms.Form = PromptTextForm(
        request.POST or None, initial={"text": versions[0].text if versions else ""}
    )
    if request.method == "POST" and form.is_valid():
        try:
            made = prompts.write(
                template=template, text=form.cleaned_data["text"], by=person(request)
            )
        except DomainError as error:
            form_errors.show(error, form)
        else:
            messages.success(request, f"{made.reference} is there.")
            return redirect("projects:prompt_detail", project.slug, template.name)
    context = _frame(project, template.name, inside=True) | {
        "template": template,
        "versions": versions,
        "form": form,
    }
    status = 400 if request.method == "POST" else 200
    return render(request, "projects/prompt_detail.html", context, status=status)


def _frame(project: Project, title: str, *, inside: bool = False) -> dict[str, Any]:
    crumbs = [("Datasets", reverse("projects:dataset_list", args=[project.slug]))]
    if inside:
        crumbs.append(("Templates", reverse("projects:prompt_list", args=[project.slug])))
    return {"project": project, "section": "datasets", "title": title, "crumbs": crumbs}
