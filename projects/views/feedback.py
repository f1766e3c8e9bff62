"""Feedback: what people said is right, on its way to a dataset."""

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.ingest.formats import SPLITS
from projects.models import Role
from projects.permissions import person
from projects.services import feedback

PAGE = 50


@require_safe
def feedback_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    found = feedback.listed(project=project)
    tasks = list(found.order_by("task").values_list("task", flat=True).distinct())
    task = request.GET.get("task", "")
    task = task if task in tasks else ""
    if task:
        found = found.filter(task=task)
    aim = task or (tasks[0] if len(tasks) == 1 else "")
    context = {
        "project": project,
        "section": "feedback",
        "title": "Feedback",
        "subtitle": "Inputs that models were tried on, and what is right: rows of a next version.",
        "page": Paginator(found, PAGE).get_page(request.GET.get("page")),
        "tasks": tasks,
        "task": task,
        "waiting": found.waiting().count() if aim else 0,
        "datasets": list(feedback.suited(project=project, task=aim)) if aim else [],
        "splits": SPLITS,
    }
    return render(request, "projects/feedback_list.html", context)


@require_POST
def feedback_promote(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    try:
        made = feedback.promote(
            version=feedback.resolved(project=project, reference=request.POST.get("dataset", "")),
            split=request.POST.get("split", "train"),
            by=person(request),
        )
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect("projects:feedback_list", project.slug)
    messages.success(request, f"{made.reference} is being made with the feedback.")
    return redirect("projects:dataset_version", project.slug, made.dataset.name, made.number)


@require_POST
def feedback_delete(request: HttpRequest, project_slug: str, feedback_id: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    found = feedback.find(project=project, feedback_id=feedback_id)
    try:
        feedback.forget(feedback=found, by=person(request))
    except DomainError as error:
        messages.error(request, error.detail)
    back = reverse("projects:feedback_list", args=[project.slug])
    return redirect(f"{back}?task={found.task}" if request.POST.get("task") else back)


@require_safe
def feedback_file(request: HttpRequest, project_slug: str, feedback_id: int) -> HttpResponse:
    """The picture or sound, made anew from its pixels or samples."""
    project = permissions.project_for(request.user, project_slug)
    found = feedback.find(project=project, feedback_id=feedback_id)
    kind = "image/png" if found.task == "image-classification" else "audio/wav"
    answer = HttpResponse(feedback.content(feedback=found), content_type=kind)
    answer.headers["Cache-Control"] = "private, max-age=3600"
    return answer
