"""What takes how much room, and what of it can be freed."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib.errors import Invalid
from distillhub.templatetags import ui
from projects import permissions
from projects.models import Role
from training.services import storage_use


@require_safe
def storage(request: HttpRequest) -> HttpResponse:
    shown = storage_use.overview(by=permissions.person(request))
    context = {"title": "Storage", "section": "storage", "shown": shown}
    return render(request, "training/storage.html", context)


@require_POST
def storage_free(request: HttpRequest, use_id: int) -> HttpResponse:
    storage_use.free(use_id=use_id, by=permissions.person(request))
    messages.success(request, "It is being freed.")
    return redirect("training:storage")


@require_POST
def project_storage(request: HttpRequest, project_slug: str) -> HttpResponse:
    """`free` frees the checkpoints of ended runs, `days` says how long they stay."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    by = permissions.person(request)
    if "free" in request.POST:
        freed = storage_use.free_checkpoints(project=project, by=by)
        messages.success(request, f"Freed {ui.filesize(freed)} of checkpoints.")
        return redirect("training:storage")
    asked = request.POST.get("days", "").strip()
    try:
        if asked and not (asked.isascii() and asked.isdigit() and len(asked) < 6):
            raise Invalid("A number of days is a whole number.")
        storage_use.keep_for(project=project, days=int(asked) if asked else None, by=by)
        messages.success(request, "Saved.")
    except Invalid as error:
        messages.error(request, error.detail)
    return redirect("training:storage")
