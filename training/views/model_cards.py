"""The card of a version: people's words, and the facts."""

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from distillhub.lib import downloads, markdown
from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import ModelVersion, Project, Role
from projects.services import registry
from training.services import model_cards
from training.views import model_tabs

README = "README.md"
SHOWN = 30  # edits


@require_http_methods(["GET", "POST"])
def model_card(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponse:
    """POST saves people's part."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    version = registry.find(project=project, name=model_name, number=number)
    if request.method == "GET":
        return _page(request, project, version)
    text, begun = request.POST.get("text", ""), request.POST.get("edit", "")
    try:
        model_cards.write(
            version=version,
            text=text,
            based_on=int(begun) if begun.isascii() and begun.isdigit() else None,
            by=permissions.person(request),
        )
    except DomainError as error:
        return _page(request, project, version, typed=text, fault=error.detail, status=error.status)
    return redirect("training:model_card", project.slug, model_name, number)


@require_safe
def model_card_download(
    request: HttpRequest, project_slug: str, model_name: str, number: int
) -> HttpResponseBase:
    """README.md, with its front matter."""
    project = permissions.project_for(request.user, project_slug)
    version = registry.find(project=project, name=model_name, number=number)
    content = model_cards.card(version=version).markdown.encode()
    return downloads.streamed(iter([content]), name=README, media_type="text/markdown")


def _page(
    request: HttpRequest,
    project: Project,
    version: ModelVersion,
    *,
    typed: str | None = None,
    fault: str = "",
    status: int = 200,
) -> HttpResponse:
    card = model_cards.card(version=version)
    context = model_tabs.frame(project, version, "card") | {
        "card": card,
        "text": markdown.render(card.text),
        "facts": markdown.render(card.facts),
        "typed": typed if typed is not None else card.text or model_cards.BEGINNING,
        "longest": model_cards.LONGEST,
        "edits": list(model_cards.history(version=version)[:SHOWN]),
        "opens": typed is not None,
        "fault": fault,
    }
    return render(request, "training/model_card.html", context, status=status)
