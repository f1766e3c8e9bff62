"""Saving what a page of runs shows by name, and forgetting it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Role
from training.models import SavedView
from training.services import saved_views

PAGES = {SavedView.Page.RUNS: "training:run_list", SavedView.Page.COMPARE: "training:compare"}


@require_POST
def view_save(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    given = request.POST
    page, query = given.get("page", SavedView.Page.RUNS), given.get("query", "")
    try:
        made = saved_views.create(
            project=project,
            page=page,
            name=given.get("name", ""),
            query=query,
            by=permissions.person(request),
        )
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect(_address(project_slug, page))
    messages.success(request, f"Saved as {made.name}.")
    return redirect(f"{_address(project_slug, page)}?{made.query}")


@require_POST
def view_delete(request: HttpRequest, project_slug: str, view_id: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    view = saved_views.get(project=project, view_id=view_id)
    saved_views.delete(project=project, view_id=view_id)
    messages.success(request, f"Deleted the view {view.name}.")
    return redirect(f"{_address(project_slug, view.page)}?{view.query}")


def _address(project_slug: str, page: str) -> str:
    known = SavedView.Page(page) if page in SavedView.Page.values else SavedView.Page.RUNS
    return reverse(PAGES[known], args=[project_slug])
