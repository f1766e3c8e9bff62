"""The star of a page, and what every page shows of a person: bell and favourites."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_POST

from projects import permissions
from projects.models import User
from projects.permissions import person
from projects.services import favourites, subjects


def at_hand(request: HttpRequest) -> dict[str, Any]:
    """For templates: read once a request, and only by a page that shows it. Who asks is not looked
    up before, either."""
    return {"at_hand": SimpleLazyObject(lambda: _at_hand(request))}


def _at_hand(request: HttpRequest) -> Any:
    user = getattr(request, "user", None)
    return favourites.at_hand(user=user) if isinstance(user, User) else {}


@require_POST
def star(request: HttpRequest, project_slug: str) -> HttpResponse:
    """Keep what `subject` names at hand, or with `on=false` let it go."""
    project = permissions.project_for(request.user, project_slug)
    kind, reference = subjects.parsed(request.POST.get("subject", ""), among=subjects.KEPT)
    user = person(request)
    if request.POST.get("on") == "false":
        favourites.remove(user=user, project=project, kind=kind, reference=reference)
    else:
        subject = subjects.find(project=project, kind=kind, reference=reference)
        favourites.add(user=user, project=project, subject=subject)
    if request.headers.get("HX-Request"):
        context = {"project": project, "kind": kind, "reference": reference, "swapped": True}
        return render(request, "projects/_star.html", context)
    return redirect(subjects.path(slug=project.slug, kind=kind, reference=reference))
