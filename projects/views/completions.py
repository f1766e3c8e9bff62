"""The inbox: calls that applications made to a big model, on their way to a dataset."""

import json
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Dataset, Project, Role, StoredCompletion
from projects.models.completion import StoredCompletionQuerySet
from projects.permissions import person
from projects.services import completions

PAGE = 50
MOST_MODELS = 50
CONDITIONS = ("q", "model", "tag", "finish_reason")
TASKS = (
    ("text-generation", "chats to learn to write from"),
    ("text-classification", "questions, labelled with their answers"),
)


@require_safe
def completion_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    asked = _asked(request.GET)
    every = StoredCompletion.objects.filter(project=project)
    found = _found(project, asked).defer("request", "response")
    page = Paginator(found, PAGE).get_page(request.GET.get("page"))
    context = {
        "project": project,
        "section": "inbox",
        "title": "Inbox",
        "subtitle": "Calls that your applications made to a big model, ready to become data.",
        "page": page,
        "asked": asked,
        "filtered": any(asked.values()),
        "models": list(
            every.order_by("model").values_list("model", flat=True).distinct()[:MOST_MODELS]
        ),
        "tasks": TASKS,
        "address": request.build_absolute_uri(reverse("api_completions", args=[project.slug])),
    }
    fragment = request.headers.get("HX-Target") == "calls"
    template = "projects/_completions.html" if fragment else "projects/completion_list.html"
    return render(request, template, context)


@require_safe
def completion_detail(request: HttpRequest, project_slug: str, key: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    found = completions.find(project=project, key=key)
    asked = found.request if isinstance(found.request, dict) else {}
    context = {
        "project": project,
        "section": "inbox",
        "title": found.asked[:80] or "A call",
        "crumb": found.key,
        "crumbs": [("Inbox", reverse("projects:completion_list", args=[project.slug]))],
        "one": found,
        "said": [_shown(message) for message in asked.get("messages") or [asked.get("prompt")]],
        "answers": [_shown(choice) for choice in found.response.get("choices", [])],
        "settings": [
            (name, json.dumps(value))
            for name, value in asked.items()
            if name not in ("messages", "prompt", "model", "metadata")
        ],
    }
    return render(request, "projects/completion_detail.html", context)


@require_POST
def completions_promote(request: HttpRequest, project_slug: str) -> HttpResponse:
    """What the list shows becomes a dataset, or the next version of one."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    name = request.POST.get("name", "").strip()
    task = request.POST.get("task", "")
    try:
        version = completions.promote(
            project=project,
            completions=_found(project, _asked(request.POST)),
            name=name,
            task=task if task in dict(TASKS) else TASKS[0][0],
            dataset=Dataset.objects.filter(project=project, name=name).first(),
            by=person(request),
        )
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect("projects:completion_list", project.slug)
    return redirect("projects:dataset_version", project.slug, version.dataset.name, version.number)


def _asked(given: Any) -> dict[str, str]:
    return {name: given.get(name, "").replace("\0", "").strip()[:200] for name in CONDITIONS}


def _found(project: Project, asked: dict[str, str]) -> StoredCompletionQuerySet:
    return StoredCompletion.objects.filter(project=project).found_by(**asked)  # type: ignore[arg-type]


def _shown(message: Any) -> dict[str, str]:
    """A message, or the choice that holds one, as a page shows it: {"role", "text", "why"}."""
    if not isinstance(message, dict):
        return {"role": "prompt", "text": message if isinstance(message, str) else ""}
    inner: dict[str, Any] = message
    if isinstance(message.get("message"), dict):
        inner = message["message"]
    content = inner.get("content", inner.get("text"))
    plain = content if isinstance(content, str) else ""
    rest = {key: inner[key] for key in ("tool_calls", "refusal") if inner.get(key)}
    if not plain and content:
        rest["content"] = content
    extra = json.dumps(rest, indent=2, ensure_ascii=False) if rest else ""
    return {
        "role": str(inner.get("role", "assistant"))[:50],
        "text": "\n\n".join(filter(None, [plain, extra])),
        "why": str(message.get("finish_reason") or "")[:50],
    }
