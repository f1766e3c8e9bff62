"""What happened in a project, day by day."""

from datetime import date
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from projects import permissions
from projects.models import Event
from projects.services import events, subjects

SHOWN = 60
#: How an event looks: its icon, and its tone by what comes after the dot.
ICONS = {
    "project": "folder", "member": "users", "invitation": "user-plus", "dataset": "database",
    "dataset_version": "database", "model": "box", "model_version": "box", "alias": "tag",
    "run": "activity", "study": "scale", "gate": "school", "export": "package",
    "publication": "rocket", "import": "upload", "incident": "bell", "retraining": "refresh",
    "review": "eye", "comment": "message", "report": "report-analytics", "webhook": "link",
}  # fmt: skip
TONES = {
    "failed": "bad", "opened": "bad", "worsened": "bad", "turned_off": "bad", "finished": "good",
    "ready": "good", "promoted": "good", "beat_the_best": "good", "closed": "good",
    "proposed": "live", "deciding": "live", "started": "live",
}  # fmt: skip
#: Of a thing that was talked about: it is not the thing that was made or changed.
SAID = {"comment.created": "commented", "comment.changed": "comment changed"}
#: What people filter by: groups of kinds that belong together.
CHOICES = (
    ("", "Everything"), ("run", "Runs"), ("study", "Studies"), ("dataset_version", "Datasets"),
    ("model_version", "Models"), ("alias", "Aliases"), ("incident", "Incidents"),
    ("retraining", "Retrainings"), ("comment", "Comments"), ("member", "Members"),
)  # fmt: skip


@require_safe
def activity(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    kind = request.GET.get("kind", "")
    kind = kind if kind in dict(CHOICES) else ""
    found = events.feed(project=project, kind=kind)
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 16:
        found = found.filter(pk__lt=int(before))
    rows = list(found[: SHOWN + 1])
    kept = {"kind": kind} if kind else {}
    days = [
        (day_words(day), [_shown(project.slug, one) for one in of_day])
        for day, of_day in groupby(rows[:SHOWN], key=lambda one: timezone.localdate(one.at))
    ]
    context = {
        "title": "Activity",
        "subtitle": "What happened here, newest first.",
        "section": "activity",
        "project": project,
        "days": days,
        "choices": [(key, label, f"?kind={key}" if key else "?") for key, label in CHOICES],
        "chosen": kind,
        "is_first": not before,
        "older": f"?{urlencode(kept | {'before': rows[SHOWN - 1].pk})}"
        if len(rows) > SHOWN
        else "",
    }
    return render(request, "projects/activity.html", context)


def _shown(slug: str, event: Event) -> dict[str, Any]:
    group, _, what = event.kind.partition(".")
    return {
        "event": event,
        "what": SAID.get(event.kind) or what.replace("_", " "),
        "icon": "trophy" if what == "beat_the_best" else ICONS.get(group, "point"),
        "tone": TONES.get(what, ""),
        "about": subjects.said(event.subject_kind, event.subject, event.title),
        "url": subjects.path(slug=slug, kind=event.subject_kind, reference=event.subject)
        if event.subject_kind in subjects.PLACES
        else "",
    }


def day_words(day: date) -> str:
    ago = (timezone.localdate() - day).days
    if ago < 2:
        return "Today" if ago < 1 else "Yesterday"
    this_year = day.year == timezone.localdate().year
    return f"{day:%A}, {day.day} {day:%B}" + ("" if this_year else f" {day.year}")
