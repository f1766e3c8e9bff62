"""What a person hears of: the list, what is read, the rules, and the end of e-mails."""

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from projects import permissions
from projects.models import Notification, Project
from projects.permissions import person
from projects.services import notifications, subjects
from projects.services.topics import TOPICS
from projects.views import activity

PAGE = 50
ICONS: Mapping[str, str] = {
    "mentioned": "at",
    "comment": "message",
    "run_failed": "alert-circle",
    "run_finished": "circle-check",
    "beat_the_best": "trophy",
    "study_finished": "scale",
    "work_failed": "alert-circle",
    "work_ready": "circle-check",
    "drift_alert": "heart-rate-monitor",
    "incident_assigned": "heart-rate-monitor",
    "retraining": "refresh",
    "review_assigned": "eye",
    "review_opened": "eye",
    "alias_moved": "tag",
    "report_published": "report-analytics",
    "invited": "user",
    "webhook_off": "alert-triangle",
}
TONES: Mapping[str, str] = {
    "run_failed": "bad",
    "work_failed": "bad",
    "drift_alert": "bad",
    "webhook_off": "warn",
    "run_finished": "good",
    "work_ready": "good",
    "beat_the_best": "good",
    "mentioned": "live",
}


@require_safe
def notification_list(request: HttpRequest) -> HttpResponse:
    show = "unread" if request.GET.get("show") == "unread" else ""
    rows = notifications.listed(user=person(request), unread=bool(show))
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    lines = [_line(one) for one in page.object_list]
    context = {
        "title": "Notifications",
        "section": "notifications",
        "page": page,
        "days": [
            (activity.day_words(day), list(found))
            for day, found in groupby(lines, key=lambda one: one["day"])
        ],
        "show": show,
    }
    return render(request, "projects/notification_list.html", context)


@require_safe
@never_cache
def notifications_unread(request: HttpRequest) -> JsonResponse:
    """How many, for the bell of a page that stays open."""
    return JsonResponse({"unread": notifications.unread(user=person(request))})


@require_POST
def notifications_read(request: HttpRequest) -> HttpResponse:
    """Those of `ids`, or all; with `read=false` they are unread again."""
    given = [int(one) for one in request.POST.getlist("ids") if one.isdecimal() and len(one) < 18]
    ids = None if request.POST.get("all") == "true" else given
    notifications.mark(user=person(request), ids=ids, read=request.POST.get("read") != "false")
    show = "?show=unread" if request.POST.get("show") == "unread" else ""
    return redirect(f"/notifications/{show}")


@require_http_methods(["GET", "HEAD", "POST"])
def notification_rules(request: HttpRequest) -> HttpResponse:
    """What one hears of, for all projects or, with `?project=`, for one."""
    user = person(request)
    slug = request.GET.get("project", "")
    project = permissions.project_for(user, slug) if slug else None
    if request.method == "POST":
        if request.POST.get("reset") == "true":
            notifications.reset_rules(user=user, project=project)
            messages.success(request, "The defaults hold again.")
        else:
            notifications.set_rules(user=user, project=project, asked=_asked(request))
            messages.success(request, "Kept.")
        return redirect(f"{request.path}?project={project.slug}" if project else request.path)
    rules = notifications.rules(user=user, project=project)
    context = {
        "title": "Notifications",
        "section": "account",
        "tab": "notifications",
        "rules": rules,
        "has_own": any(one.is_own for one in rules),
        "of": project,
        "choices": Project.objects.visible_to(user).active(),
        "sends_mail": bool(settings.EMAIL_URL),
        "has_address": bool(user.email),
    }
    return render(request, "projects/notification_rules.html", context)


@login_not_required
@csrf_exempt  # mail programs post it without a page of ours (RFC 8058); it can only end e-mails
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def notifications_unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """End the e-mails of whom the link was sent to. Following it asks first: programs follow
    links, too."""
    done = request.method == "POST"
    if done:
        notifications.unsubscribe(token=token)
    context = {"title": "E-mails", "done": done}
    response = render(request, "projects/notifications_unsubscribe.html", context)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _asked(request: HttpRequest) -> list[dict[str, Any]]:
    """Every topic of the form: a box that is not ticked sends nothing. Without a mail server the
    boxes for e-mail are not there, and what was said of it before stays."""
    given = request.POST
    asked: list[dict[str, Any]] = []
    for key, topic in TOPICS.items():
        one: dict[str, Any] = {"topic": key, "on_page": given.get(f"{key}-page") == "true"}
        if settings.EMAIL_URL:
            one["by_email"] = given.get(f"{key}-email") == "true"
        if not topic.named:
            one["whose"] = given.get(f"{key}-whose", topic.whose)
        asked.append(one)
    return asked


def _line(one: Notification) -> dict[str, Any]:
    return {
        "id": one.pk,
        "day": timezone.localtime(one.created_at).date(),
        "at": one.created_at,
        "is_unread": one.read_at is None,
        "sentence": one.event.sentence,
        "about": subjects.said(one.event.subject_kind, one.event.subject, one.event.title),
        "project": one.event.project.name,
        "topic": TOPICS[one.topic].label if one.topic in TOPICS else one.topic,
        "icon": ICONS.get(one.topic, "bell"),
        "tone": TONES.get(one.topic, "mute"),
        "path": notifications.address(one.event),
    }
