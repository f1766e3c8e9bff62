"""What is done to the runs that were chosen in the table."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_POST

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Role
from training.services import compare, run_bulk

TOLD = 3  # refusals that are told each by itself


@require_POST
def runs_change(request: HttpRequest, project_slug: str) -> HttpResponse:
    """`action` to `runs` (1,2,3), and back to the table as `back` had it."""
    given = request.POST
    action = given.get("action", "")
    known = run_bulk.ACTIONS.get(action)
    least = known.least if known else Role.EDITOR
    project = permissions.project_for(request.user, project_slug, at_least=least)
    try:
        said = run_bulk.apply(
            project=project,
            numbers=compare.numbers_in([given.get("runs", "")]),
            action=action,
            value=given.get("value", ""),
            by=permissions.person(request),
        )
    except DomainError as error:
        messages.error(request, error.detail)
    else:
        if said.done:
            messages.success(request, said.sentence)
        for one in said.refused[:TOLD]:
            messages.error(request, one.detail)
        if len(said.refused) > TOLD:
            messages.error(request, f"And {len(said.refused) - TOLD} more were refused.")
    kept = QueryDict(given.get("back", "")[:4000]).urlencode()
    address = reverse("training:run_list", args=[project.slug])
    return redirect(f"{address}?{kept}" if kept else address)
