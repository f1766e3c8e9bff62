"""Monitors: their list, and what is done to one."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from projects import permissions
from projects.models import Role
from training.services import monitor_health, monitors, set_aside

SHOWN = 200


@require_safe
def monitor_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    found = list(monitors.listed(project=project)[:SHOWN])
    health = monitor_health.of(found)
    context = {
        "title": "Monitors",
        "section": "monitors",
        "project": project,
        "rows": [(one, health[one.pk]) for one in found],
        "may_edit": project.allows(Role.EDITOR) and project.archived_at is None,
    }
    return render(request, "training/monitor_list.html", context)


@require_POST
def monitor_pause(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    monitor = monitors.find(project=project, name=name)
    monitors.pause(monitor=monitor, by=permissions.person(request))
    messages.success(request, f"Paused {monitor.name}: no window is judged until it is resumed.")
    return redirect("training:monitor_settings", project.slug, monitor.name)


@require_POST
def monitor_resume(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    monitor = monitors.find(project=project, name=name)
    monitors.resume(monitor=monitor, by=permissions.person(request))
    messages.success(request, f"{monitor.name} judges windows again.")
    return redirect("training:monitor_settings", project.slug, monitor.name)


@require_POST
def monitor_refit(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    monitor = monitors.find(project=project, name=name)
    monitors.refit(monitor=monitor, by=permissions.person(request))
    messages.success(request, "The reference is taken anew; windows are judged after.")
    return redirect("training:monitor_settings", project.slug, monitor.name)


@require_POST
def monitor_set_aside(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    monitor = monitors.find(project=project, name=name)
    if request.POST.get("do") == "delete":
        number = set_aside.remove(monitor=monitor)
        messages.success(request, f"Deleted {number} batch{'' if number == 1 else 'es'} for good.")
    else:
        set_aside.again(monitor=monitor)
        messages.success(request, "What was set aside is tried again.")
    return redirect("training:monitor_health", project.slug, monitor.name)


@require_POST
def monitor_delete(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.OWNER)
    monitor = monitors.find(project=project, name=name)
    monitors.remove(monitor=monitor)
    messages.success(request, f"Deleted the monitor {monitor.name} with all that it was sent.")
    return redirect("training:monitor_list", project.slug)
