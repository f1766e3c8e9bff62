"""The guided form of a new run. Every change is answered by the server with the same page's parts;
without JavaScript the buttons of the form do the same."""

import json
import uuid

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from distillhub.lib.errors import DomainError, Missing
from projects import permissions
from projects.models import Project, Role, User
from projects.services import idempotency
from training.forms.run import RunDraft
from training.models import Run
from training.services import runs


@require_http_methods(["GET", "POST"])
def run_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    if request.method == "GET":
        draft = _begin(request, project)
        draft.check()
        return _page(request, draft)
    draft = RunDraft.from_post(project, request.POST)
    action = request.POST.get("action", "launch")
    if action == "launch":
        try:
            return redirect("training:run_detail", project.slug, _launch_once(request, draft))
        except DomainError as error:
            draft.refuse(error)
            return _page(request, draft)
    draft.check()
    if not request.headers.get("HX-Request"):
        return _page(request, draft)
    part = "_run_checked.html" if action == "check" else "_run_form.html"
    return render(request, f"training/{part}", _context(request, draft))


def _begin(request: HttpRequest, project: Project) -> RunDraft:
    wanted = request.GET.get("clone", "")
    if not wanted:
        return RunDraft.from_address(project, request.GET)
    cloned = None
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 10:
        cloned = Run.objects.filter(project=project, number=int(wanted)).first()
    if cloned is None or cloned.is_tracked:
        raise Missing("There is no such run to clone.")
    return RunDraft.from_configuration(project, cloned.config)


def _launch_once(request: HttpRequest, draft: RunDraft) -> int:
    """The run's number. Sending the same form again, as a double click does, finds the same run."""
    user = request.user
    assert isinstance(user, User)
    configuration = draft.configuration()
    asked = idempotency.digest([draft.project.slug.encode(), json.dumps(configuration).encode()])

    def launch() -> tuple[int, dict[str, int]]:
        run = runs.launch(project=draft.project, configuration=configuration, by=user)
        return 201, {"number": run.number}

    key = f"form {request.POST.get('form_key', '')[:64]} {asked}"
    answered = idempotency.once(user=user, key=key, request_digest=asked, work=launch)
    number: int = answered.answer["number"]
    return number


def _page(request: HttpRequest, draft: RunDraft) -> HttpResponse:
    return render(request, "training/run_new.html", _context(request, draft))


def _context(request: HttpRequest, draft: RunDraft) -> dict[str, object]:
    return {
        "title": "New run",
        "section": "runs",
        "project": draft.project,
        "draft": draft,
        "form_key": request.POST.get("form_key") or str(uuid.uuid4()),
    }
