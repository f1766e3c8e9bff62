"""Inviting people, and accepting: by whoever is signed in, or signs up for it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from distillhub.lib.errors import DomainError, Missing
from projects import permissions
from projects.forms import InvitationForm
from projects.models import Invitation, Project, Role
from projects.permissions import person
from projects.services import invitations, sign_in


@login_not_required
@never_cache
@require_safe
def invitation_link(request: HttpRequest, token: str) -> HttpResponse:
    """What was sent: remembered in the session, so that the secret leaves the address bar."""
    try:
        invitation = invitations.find(token)
    except Missing:
        return _page(request, None)
    invitations.open_in(request, invitation)
    response = redirect("projects:invitation")
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def invitation(request: HttpRequest) -> HttpResponse:
    """Look at the invitation that was opened in this browser, and accept it."""
    found = invitations.opened(request)
    if request.method == "POST":
        if not request.user.is_authenticated:
            return redirect("projects:sign_in")
        digest = str(request.session.get(sign_in.INVITED, ""))
        try:
            membership = invitations.accept(digest=digest, by=person(request))
        except invitations.AlreadyMember as error:
            invitations.close_in(request)
            messages.info(request, error.detail)
            return redirect("training:home")
        invitations.close_in(request)
        project = membership.project
        messages.success(request, f"You are {membership.role} of {project.name} now.")
        return redirect("training:project_overview", project.slug)
    if found is None:
        invitations.close_in(request)
    return _page(request, found)


def _page(request: HttpRequest, found: Invitation | None) -> HttpResponse:
    context = {"invitation": found, "title": "Invitation"}
    status = 200 if found else 404
    return render(request, "projects/invitation.html", context, status=status)


@require_POST
def invitation_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    form = InvitationForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Give an e-mail address, or none, and a role.")
        return redirect("projects:project_settings", project.slug)
    try:
        made, link = invitations.invite(project=project, **form.cleaned_data, by=person(request))
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect("projects:project_settings", project.slug)
    return _told(request, project, made, link)


@require_POST
def invitation_renew(request: HttpRequest, project_slug: str, pk: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    found = _of(project, pk)
    by_mail = request.POST.get("how") != "link"
    link = invitations.renew(invitation=found, by=person(request), by_mail=by_mail)
    return _told(request, project, found, link)


@require_POST
def invitation_revoke(request: HttpRequest, project_slug: str, pk: int) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    invitations.revoke(invitation=_of(project, pk), by=person(request))
    messages.success(request, "The invitation is taken back.")
    return redirect("projects:project_settings", project.slug)


def _told(
    request: HttpRequest, project: Project, made: Invitation, link: str | None
) -> HttpResponse:
    """The link is in this answer only: kept for a redirect it would be stored somewhere."""
    if link is None:
        messages.success(request, f"The invitation was sent to {made.email}.")
        return redirect("projects:project_settings", project.slug)
    context = {
        "project": project,
        "invitation": made,
        "link": link,
        "tried": bool(made.email and sign_in.has_mail()),
        "title": "Invitation",
        "section": "settings",
    }
    response = render(request, "projects/invitation_made.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


def _of(project: Project, pk: int) -> Invitation:
    found = invitations.waiting(project).filter(pk=pk).first()
    if found is None:
        raise Missing("There is no such invitation.")
    return found
