"""Making a project, and its settings: name, members, archive."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from distillhub.lib import forms as form_errors
from distillhub.lib.errors import DomainError, Missing
from projects import permissions
from projects.forms import InvitationForm, MemberForm, ProjectForm, RoleForm
from projects.models import Project, Role, User
from projects.permissions import person
from projects.services import invitations, projects

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@get_or_post
def project_new(request: HttpRequest) -> HttpResponse:
    form = ProjectForm(request.POST or None)
    if form.is_valid():
        try:
            made = projects.create(**form.cleaned_data, by=person(request))
        except DomainError as error:
            form_errors.show(error, form)
        else:
            messages.success(request, f"{made.name} is ready for its first dataset.")
            return redirect("training:project_overview", made.slug)
    context = {"form": form, "title": "New project"}
    return render(request, "projects/project_new.html", context)


@get_or_post
def project_settings(request: HttpRequest, project_slug: str) -> HttpResponse:
    """Every member sees it; owners change it."""
    needed = Role.OWNER if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=needed)
    form = ProjectForm(
        request.POST or None,
        initial={"name": project.name, "description": project.description},
    )
    form.fields["name"].widget.attrs.pop("autofocus")
    if form.is_valid():
        try:
            projects.change(project=project, **form.cleaned_data, by=person(request))
        except DomainError as error:
            form_errors.show(error, form)
        else:
            messages.success(request, "The project is saved.")
            return redirect("projects:project_settings", project.slug)
    return _settings_page(request, project, form, MemberForm())


@require_POST
def member_add(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    form = MemberForm(request.POST)
    if form.is_valid():
        try:
            added = projects.add_member(project=project, **form.cleaned_data, by=person(request))
        except DomainError as error:
            form_errors.show(error, form)
        else:
            messages.success(request, f"{added.user.display_name} is a member now.")
            return redirect("projects:project_settings", project.slug)
    initial = {"name": project.name, "description": project.description}
    return _settings_page(request, project, ProjectForm(initial=initial), form)


@require_POST
def member_change(request: HttpRequest, project_slug: str, username: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    form = RoleForm(request.POST)
    user = _member(project, username)
    try:
        role = form.cleaned_data["role"] if form.is_valid() else ""
        projects.change_role(project=project, user=user, role=role, by=person(request))
    except DomainError as error:
        messages.error(request, error.detail)
    else:
        messages.success(request, f"{user.display_name} is {role} now.")
    return redirect("projects:project_settings", project.slug)


@require_POST
def member_remove(request: HttpRequest, project_slug: str, username: str) -> HttpResponse:
    """Owners remove anybody; everybody may leave."""
    me = person(request)
    leaving = username == me.username
    needed = Role.VIEWER if leaving else Role.OWNER
    project = permissions.project_for(me, project_slug, at_least=needed)
    user = _member(project, username)
    try:
        projects.remove_member(project=project, user=user, by=me)
    except DomainError as error:
        messages.error(request, error.detail)
        return redirect("projects:project_settings", project.slug)
    if leaving:
        messages.success(request, f"You have left {project.name}.")
        return redirect("training:home")
    messages.success(request, f"{user.display_name} is no member any more.")
    return redirect("projects:project_settings", project.slug)


@require_POST
def project_archive(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(
        request.user, project_slug, at_least=Role.OWNER, archived_too=True
    )
    projects.archive(project=project, by=person(request))
    messages.success(request, f"{project.name} is archived.")
    return redirect("projects:project_settings", project.slug)


@require_POST
def project_restore(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(
        request.user, project_slug, at_least=Role.OWNER, archived_too=True
    )
    projects.restore(project=project, by=person(request))
    messages.success(request, f"{project.name} is back.")
    return redirect("projects:project_settings", project.slug)


def _settings_page(
    request: HttpRequest, project: Project, form: ProjectForm, member_form: MemberForm
) -> HttpResponse:
    may_change = project.my_role == Role.OWNER and project.archived_at is None
    context = {
        "project": project,
        "form": form,
        "member_form": member_form,
        "invitation_form": InvitationForm(),
        "invitations": invitations.waiting(project) if may_change else [],
        "memberships": project.memberships.filter(user__is_service=False).select_related("user"),
        "roles": Role.choices,
        "may_change": may_change,
        "title": "Settings",
        "section": "settings",
        "tab": "project",
    }
    return render(request, "projects/project_settings.html", context)


def _member(project: Project, username: str) -> User:
    user = User.objects.filter(memberships__project=project, username=username).first()
    if user is None:
        raise Missing("There is no such member.")
    return user
