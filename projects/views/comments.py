"""Conversations: the part of a page that holds one, and what people say, change and delete."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseNotModified
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST
from django.views.decorators.vary import vary_on_headers

from distillhub.lib.errors import DomainError
from projects import permissions
from projects.models import Comment, Project
from projects.permissions import person
from projects.services import comments, subjects


@never_cache  # it holds forms of one person; what is new is told by its tag
@vary_on_headers("HX-Request")
@require_http_methods(["GET", "HEAD", "POST"])
def comment_thread(request: HttpRequest, project_slug: str) -> HttpResponse:
    """Of `?subject=run/12`, as a part or as a page of its own; POST says something. A page that
    stays open asks with the tag that it has (`If-None-Match`), and gets 304 where nothing is new.
    """
    project = permissions.project_for(request.user, project_slug)
    given = request.POST if request.method == "POST" else request.GET
    kind, reference = subjects.parsed(given.get("subject", ""), among=subjects.DISCUSSED)
    known = request.headers.get("If-None-Match", "").strip('"')
    if known and request.method != "POST":
        now = comments.tag(project=project, kind=kind, reference=reference, reader=person(request))
        if known == now:
            return HttpResponseNotModified()
    subject = subjects.find(project=project, kind=kind, reference=reference)
    if request.method != "POST":
        return _shown(request, project, subject)
    text = request.POST.get("text", "")
    try:
        comments.add(project=project, subject=subject, text=text, by=person(request))
    except DomainError as error:
        return _shown(request, project, subject, draft=text, fault=error)
    return _after(request, project, subject)


@require_POST
def comment_edit(request: HttpRequest, project_slug: str, comment_id: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    comment = comments.find(project=project, comment_id=comment_id)
    try:
        comments.edit(comment=comment, text=request.POST.get("text", ""), by=person(request))
    except DomainError as error:
        if error.status == 403:
            raise
        messages.error(request, error.detail)
    return _after(request, project, _subject_of(project, comment))


@require_POST
def comment_delete(request: HttpRequest, project_slug: str, comment_id: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    comment = comments.find(project=project, comment_id=comment_id)
    comments.delete(comment=comment, by=person(request))
    return _after(request, project, _subject_of(project, comment))


def _subject_of(project: Project, comment: Comment) -> subjects.Subject:
    return subjects.find(project=project, kind=comment.subject_kind, reference=comment.subject)


def _after(request: HttpRequest, project: Project, subject: subjects.Subject) -> HttpResponse:
    """The part anew, or without scripts the page that it is on."""
    if request.headers.get("HX-Request"):
        return _shown(request, project, subject)
    page = subjects.path(slug=project.slug, kind=subject.kind, reference=subject.reference)
    return redirect(f"{page}#comments")


def _shown(
    request: HttpRequest,
    project: Project,
    subject: subjects.Subject,
    *,
    draft: str = "",
    fault: DomainError | None = None,
) -> HttpResponse:
    is_part = bool(request.headers.get("HX-Request"))
    context = {
        "title": "Comments",
        "project": project,
        "crumbs": [
            (
                subject.title,
                subjects.path(slug=project.slug, kind=subject.kind, reference=subject.reference),
            )
        ],
        "thread": comments.thread(project=project, subject=subject, reader=person(request)),
        "draft": draft,
        "fault": fault.detail if fault is not None else "",
    }
    name = "projects/_comment_thread.html" if is_part else "projects/comments.html"
    # A part that is refused is shown all the same: htmx swaps nothing in for a failure.
    status = fault.status if fault is not None and not is_part else 200
    return render(request, name, context, status=status)
