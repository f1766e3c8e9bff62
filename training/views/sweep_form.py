"""The form of a sweep: what of a configuration is varied. The configuration comes from the form of
a run, or from a run."""

import json
import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Project, Role
from projects.services import idempotency
from training.forms.sweep import SweepDraft
from training.services import launching, runs, studies


@require_http_methods(["GET", "POST"])
def sweep_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    form_of_a_run = f"{reverse('training:run_new', args=[project.slug])}?repeat=sweep"
    if request.method == "GET":
        wanted = request.GET.get("run", "")
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 10):
            return redirect(form_of_a_run)
        run = runs.find(project=project, number=int(wanted))
        if run.is_tracked:
            return redirect(form_of_a_run)
        base = launching.configuration_of(run=run.control_of or run)
        return page(request, SweepDraft.begun(project, base))
    try:
        draft = SweepDraft.from_post(project, request.POST)
    except ValueError:
        return redirect(form_of_a_run)
    try:
        number = _launch_once(request, project, draft)
    except DomainError as error:
        draft.refuse(error)
        return page(request, draft)
    return redirect("training:study_detail", project.slug, number)


def page(request: HttpRequest, draft: SweepDraft) -> HttpResponse:
    """Called by the form of a run, too."""
    studies_at = reverse("training:study_list", args=[draft.project.slug])
    context = {
        "title": "New sweep",
        "section": "studies",
        "project": draft.project,
        "crumbs": [("Studies", studies_at)],
        "crumb": "New sweep",
        "draft": draft,
        "form_key": request.POST.get("form_key") or str(uuid.uuid4()),
    }
    return render(request, "training/sweep_new.html", context)


def _launch_once(request: HttpRequest, project: Project, draft: SweepDraft) -> int:
    """Sending the same form again, as a double click does, finds the same sweep."""
    asked = draft.asked()
    by = permissions.person(request)
    digest = idempotency.digest([project.slug.encode(), json.dumps(asked).encode()])

    def launch() -> tuple[int, dict[str, Any]]:
        made = studies.launch(project=project, asked=asked, by=by)
        return 201, {"number": made.number}

    key = f"sweep {request.POST.get('form_key', '')[:64]} {digest}"
    answered = idempotency.once(user=by, key=key, request_digest=digest, work=launch)
    return int(answered.answer["number"])
