"""The guided form of a new run. Every change is answered by the server with the same page's parts;
without JavaScript the buttons of the form do the same."""

import json
import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from distillhub.lib.errors import DomainError, Invalid, Missing
from projects import permissions
from projects.models import Project, Role, User
from projects.services import idempotency
from training.forms.run import RunDraft
from training.forms.sweep import SweepDraft
from training.models import Run
from training.services import launching, studies
from training.views import sweep_form

#: How often it is trained: in words, and as a study.
CHOICES: dict[str, tuple[str, dict[str, Any]]] = {
    "": ("One run, one seed", {}),
    "seeds-3": ("Three seeds, for a verdict", {"kind": "seeds", "seeds": 3}),
    "seeds-5": ("Five seeds, for a surer one", {"kind": "seeds", "seeds": 5}),
    "strategies": ("Strategies: every way, three seeds", {"kind": "strategies", "seeds": 3}),
}
SWEEP = "sweep"  # what of it is varied is asked on a page of its own
CHOICES[SWEEP] = ("A sweep: vary options, find the best", {"kind": SWEEP})
REPEATS = {key: asked for key, (_, asked) in CHOICES.items() if asked}


@require_http_methods(["GET", "POST"])
def run_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    if request.method == "GET":
        draft = _begin(request, project)
        draft.check()
        return _page(request, draft)
    draft = RunDraft.from_post(project, request.POST)
    action = request.POST.get("action", "launch")
    if action == "launch" and _repeat(request) == SWEEP:
        if draft.check():
            return sweep_form.page(request, SweepDraft.begun(project, draft.resolved or {}))
        return _page(request, draft)
    if action == "launch":
        try:
            kind, number = _launch_once(request, draft)
            return redirect(f"training:{kind}_detail", project.slug, number)
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


def _launch_once(request: HttpRequest, draft: RunDraft) -> tuple[str, int]:
    """`run` or `study`, and its number. Sending the same form again, as a double click does, finds
    the same. Raises DomainError, with places in the configuration."""
    user = request.user
    assert isinstance(user, User)
    configuration = draft.configuration()
    again = REPEATS.get(_repeat(request), {})
    parts = [draft.project.slug, json.dumps(configuration), json.dumps(again)]
    asked = idempotency.digest([part.encode() for part in parts])

    def launch() -> tuple[int, dict[str, Any]]:
        if not again:
            run = launching.launch(project=draft.project, configuration=configuration, by=user)
            return 201, {"kind": "run", "number": run.number}
        whole = {**again, "name": configuration.get("name", ""), "base": configuration}
        try:
            study = studies.launch(project=draft.project, asked=whole, by=user)
        except Invalid as fault:  # the form knows the base alone
            fields = {at.removeprefix("base."): told for at, told in fault.fields.items()}
            raise Invalid(fault.detail, code=fault.code, fields=fields) from None
        return 201, {"kind": "study", "number": study.number}

    key = f"form {request.POST.get('form_key', '')[:64]} {asked}"
    answered = idempotency.once(user=user, key=key, request_digest=asked, work=launch)
    return answered.answer["kind"], answered.answer["number"]


def _repeat(request: HttpRequest) -> str:
    """Of REPEATS; one run where it is another word."""
    asked = request.POST.get("repeat") or request.GET.get("repeat", "")
    return asked if asked in REPEATS else ""


def _page(request: HttpRequest, draft: RunDraft) -> HttpResponse:
    return render(request, "training/run_new.html", _context(request, draft))


def _context(request: HttpRequest, draft: RunDraft) -> dict[str, object]:
    return {
        "title": "New run",
        "section": "runs",
        "project": draft.project,
        "draft": draft,
        "repeats": [(key, label) for key, (label, _) in CHOICES.items()],
        "repeat": _repeat(request),
        "form_key": request.POST.get("form_key") or str(uuid.uuid4()),
    }
