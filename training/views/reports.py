"""Reports: their list, one as it reads, the editor with a preview, and the public page of a shared
one."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from distillhub.lib.errors import DomainError, Invalid, Missing
from projects import permissions
from projects.models import Project, Role
from training.models import Report
from training.services import report_drafts, reports, studies
from training.views import report_parts

SHOWN = 200


@require_safe
def report_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    context = {
        "title": "Reports",
        "section": "reports",
        "project": project,
        "reports": reports.listed(project=project).defer("body")[:SHOWN],
        "can_edit": project.allows(Role.EDITOR),
    }
    return render(request, "training/report_list.html", context)


@require_safe
def report_detail(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    report = reports.find(project=project, number=number)
    secret = request.session.pop(_kept(report), "")
    address = reverse("training:report_shared", args=[secret]) if secret else ""
    context = {
        "title": report.title,
        "section": "reports",
        "project": project,
        "crumbs": [("Reports", reverse("training:report_list", args=[project.slug]))],
        "crumb": f"#{report.number}",
        "report": report,
        "parts": report_parts.parts(project, report.body),
        "can_edit": project.allows(Role.EDITOR),
        "can_share": project.allows(Role.OWNER),
        "shared_link": request.build_absolute_uri(address) if address else "",
    }
    return render(request, "training/report_detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def report_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    """GET is the editor with a draft of `?study=` or `?run=`."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    of = {name: _number(request, name) for name in ("study", "run")}
    if request.method == "POST":
        title, body = request.POST.get("title", ""), request.POST.get("body", "")
        try:
            made = reports.create(
                project=project, title=title, body=body, by=permissions.person(request), **of
            )
        except Invalid as error:
            return _editor(request, project, title, body, of=of, fault=error)
        return redirect("training:report_detail", project.slug, made.number)
    study = studies.find(project=project, number=of["study"]) if of["study"] is not None else None
    draft = report_drafts.draft(project=project, study=study, run=of["run"])
    return _editor(request, project, draft.title, draft.body, of=of)


@require_http_methods(["GET", "HEAD", "POST"])
def report_edit(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    report = reports.find(project=project, number=number)
    if request.method == "POST":
        title, body = request.POST.get("title", ""), request.POST.get("body", "")
        try:
            reports.edit(report=report, title=title, body=body, by=permissions.person(request))
        except Invalid as error:
            return _editor(request, project, title, body, report=report, fault=error)
        return redirect("training:report_detail", project.slug, report.number)
    return _editor(request, project, report.title, report.body, report=report)


@require_POST
def report_preview(request: HttpRequest, project_slug: str) -> HttpResponse:
    """What is written, as it will read."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    body = request.POST.get("body", "")[: reports.LONGEST_BODY]
    context = {"project": project, "parts": report_parts.parts(project, body)}
    return render(request, "training/_report_body.html", context)


@require_POST
def report_delete(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    report = reports.find(project=project, number=number)
    reports.remove(report=report)
    messages.success(request, f"Deleted the report {report.title}.")
    return redirect("training:report_list", project.slug)


@require_POST
def report_share(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    """The link is shown once, on the page that follows."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    report = reports.find(project=project, number=number)
    secret = reports.share(report=report, by=permissions.person(request))
    request.session[_kept(report)] = secret
    return redirect("training:report_detail", project.slug, report.number)


@require_POST
def report_unshare(request: HttpRequest, project_slug: str, number: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    report = reports.find(project=project, number=number)
    reports.stop_sharing(report=report)
    messages.success(request, "The public link ends here: who opens it finds nothing.")
    return redirect("training:report_detail", project.slug, report.number)


@login_not_required
@never_cache
@require_safe
def report_shared(request: HttpRequest, secret: str) -> HttpResponse:
    """A report for who has its link, without an account: what is written and drawn in it, and
    nothing of the project around it."""
    context: dict[str, Any]
    try:
        report = reports.shared(secret=secret)
    except Missing as error:
        context = {"title": "Not found", "text": error.detail}
        answer = render(request, "training/report_gone.html", context, status=404)
    else:
        context = {
            "title": report.title,
            "report": report,
            "parts": report_parts.parts(report.project, report.body),
        }
        answer = render(request, "training/report_shared.html", context)
    answer.headers["X-Robots-Tag"] = "noindex, nofollow"
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _editor(
    request: HttpRequest,
    project: Project,
    title: str,
    body: str,
    *,
    report: Report | None = None,
    of: dict[str, int | None] | None = None,
    fault: DomainError | None = None,
) -> HttpResponse:
    back = reverse("training:report_list", args=[project.slug])
    context: dict[str, Any] = {
        "title": f"Edit {report.title}" if report is not None else "New report",
        "section": "reports",
        "project": project,
        "crumbs": [("Reports", back)],
        "crumb": f"#{report.number}" if report is not None else "New",
        "report": report,
        "asked_title": title,
        "body": body,
        "of": of or {},
        "fault": fault,
        "parts": report_parts.parts(project, body),
        "runs": project.runs.order_by("-number").only("number", "name")[:5],
        "studies": project.studies.only("number", "name")[:5],
    }
    status = fault.status if fault is not None else 200
    return render(request, "training/report_edit.html", context, status=status)


def _number(request: HttpRequest, name: str) -> int | None:
    said = request.POST.get(name) or request.GET.get(name) or ""
    if not said:
        return None
    if not (said.isascii() and said.isdigit() and len(said) < 10):
        raise Missing(f"There is no {name} {said[:20]} in this project.")
    return int(said)


def _kept(report: Report) -> str:
    return f"shared-report-{report.pk}"
