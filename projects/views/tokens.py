"""A project's own tokens, for its owners; and the successor of any token."""

from datetime import timedelta

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST

from distillhub.lib import forms as form_errors
from distillhub.lib.errors import DomainError, Missing
from projects import permissions
from projects.forms import TokenForm
from projects.models import ApiToken, Project, Role
from projects.permissions import person
from projects.services import tokens


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def project_tokens(request: HttpRequest, project_slug: str) -> HttpResponse:
    """POST makes one; the new token is in this answer only."""
    project = _owned(request, project_slug)
    form = TokenForm(request.POST or None)
    raw = ""
    if form.is_valid():
        try:
            _, raw = tokens.create_for_project(
                project=project, by=person(request), **form.as_arguments()
            )
        except DomainError as error:
            form_errors.show(error, form)
        else:
            form = TokenForm()
    return _project_page(request, project, form, raw)


@require_POST
def project_token_revoke(request: HttpRequest, project_slug: str, token_id: int) -> HttpResponse:
    project = _owned(request, project_slug)
    token = tokens.find(project=project, pk=token_id)
    tokens.revoke(token=token)
    messages.success(request, f"The token “{token.name}” is revoked.")
    return redirect("projects:project_tokens", project.slug)


@never_cache
@require_POST
def project_token_rotate(request: HttpRequest, project_slug: str, token_id: int) -> HttpResponse:
    project = _owned(request, project_slug)
    token = tokens.find(project=project, pk=token_id)
    raw = _rotated(request, token)
    if not raw:
        return redirect("projects:project_tokens", project.slug)
    return _project_page(request, project, TokenForm(), raw)


@never_cache
@require_POST
def token_rotate(request: HttpRequest, pk: int) -> HttpResponse:
    """Of one's own."""
    mine = ApiToken.objects.usable().filter(user=person(request), pk=pk)
    token = mine.select_related("user", "project").first()
    if token is None:
        raise Missing("There is no such token.")
    raw = _rotated(request, token)
    if not raw:
        return redirect("projects:tokens")
    return my_page(request, TokenForm(of=person(request)), raw)


def my_page(request: HttpRequest, form: TokenForm, raw: str) -> HttpResponse:
    """A person's own tokens, and the one that was made just now."""
    context = {
        "form": form,
        "raw": raw,
        "tokens": ApiToken.objects.usable().filter(user=person(request)).select_related("project"),
        "of": None,
        "action": reverse("projects:tokens"),
        "site": request.build_absolute_uri("/").rstrip("/"),
        "title": "API tokens",
        "section": "account",
        "tab": "tokens",
    }
    return render(request, "projects/tokens.html", context)


def _project_page(
    request: HttpRequest, project: Project, form: TokenForm, raw: str
) -> HttpResponse:
    context = {
        "form": form,
        "raw": raw,
        "tokens": tokens.of_project(project=project),
        "of": project,
        "project": project,
        "action": reverse("projects:project_tokens", args=[project.slug]),
        "site": request.build_absolute_uri("/").rstrip("/"),
        "title": "Project tokens",
        "subtitle": "They belong to the project, so they go on working when a person leaves.",
        "section": "settings",
        "tab": "tokens",
    }
    return render(request, "projects/tokens.html", context)


def _rotated(request: HttpRequest, token: ApiToken) -> str:
    """The successor, or nothing, and why not as a message."""
    hours = request.POST.get("grace_hours", "24")
    grace = timedelta(hours=int(hours)) if hours in {"0", "1", "24", "168"} else tokens.GRACE
    try:
        _, raw = tokens.rotate(token=token, grace=grace, by=person(request))
    except DomainError as error:
        messages.error(request, error.detail)
        return ""
    return raw


def _owned(request: HttpRequest, slug: str) -> Project:
    return permissions.project_for(request.user, slug, at_least=Role.OWNER, archived_too=True)
