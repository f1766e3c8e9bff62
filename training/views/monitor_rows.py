"""The rows behind every point: what was asked and answered, and what labels and teacher say."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from training.views import monitor_parts as parts

JSON = dict[str, Any]


@require_safe
def monitor_rows(request: HttpRequest, project_slug: str, name: str) -> HttpResponse:
    project, monitor = parts.monitor_of(request, project_slug, name)
    context = parts.frame(project, monitor, "rows")
    return render(request, "training/monitor_rows.html", context)
