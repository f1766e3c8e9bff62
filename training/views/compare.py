"""Runs side by side: a page whose every control is part of its address."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib.errors import Missing
from projects import permissions
from projects.models import Role
from training.charts import run_colours
from training.models import SavedView
from training.services import compare, disagreement, saved_views
from training.views import compare_configuration, compare_curves, compare_relations, compare_rows
from training.views import compare_table as table

TABS = {
    "table": "Table",
    "curves": "Curves",
    "relations": "Parameters",
    "configuration": "Configuration",
    "rows": "Rows",
}
#: Of an address what only one tab means; another tab's links leave it out.
KEPT = ("runs", "base")


@require_safe
def compare_runs(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    asked = request.GET
    numbers = compare.numbers_in([*asked.getlist("runs"), *asked.getlist("add")])
    if "add" in asked or len(asked.getlist("runs")) > 1:  # one address for one question
        given = asked.copy()
        given.pop("add", None)
        given["runs"] = ",".join(map(str, numbers))
        return redirect(f"{request.path}?{given.urlencode(safe=',')}")
    tab = asked.get("tab", "table")
    if tab not in TABS:
        raise Missing("A comparison has no such tab.")
    runs = compare.read(project=project, numbers=numbers)
    base = _base(asked.get("base", ""), numbers)
    looks = run_colours.of({run.number: run.colour for run in runs})
    address = request.path
    kept = "&".join(f"{name}={asked[name]}" for name in KEPT if asked.get(name))
    context: dict[str, Any] = {
        "title": "Compare",
        "section": "runs",
        "project": project,
        "crumbs": [("Runs", reverse("training:run_list", args=[project.slug]))],
        "crumb": "Compare",
        "runs": [(run, looks[run.number], _without(run.number, numbers)) for run in runs],
        "numbers": ",".join(map(str, numbers)),
        "base": base,
        "tab": tab,
        "tabs": [(key, label, f"{address}?{kept}&tab={key}", None) for key, label in TABS.items()],
        "views": list(saved_views.of_project(project, SavedView.Page.COMPARE)),
        "views_page": SavedView.Page.COMPARE,
        "can_edit": project.allows(Role.EDITOR),
    }
    if runs:
        match tab:
            case "table":
                context |= table.context(runs, base, asked)
            case "curves":
                context |= compare_curves.context(runs, looks, asked)
            case "relations":
                context |= compare_relations.context(runs, looks, asked)
            case "configuration":
                context |= compare_configuration.context(runs, base, asked)
            case _:
                context |= compare_rows.context(runs, asked)
    return render(request, "training/compare.html", context)


@require_POST
def compare_review(request: HttpRequest, project_slug: str) -> HttpResponse:
    """The rows on which two runs disagree, sent to review."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    given = request.POST
    numbers = compare.numbers_in([given.get("a", ""), given.get("b", "")])
    a, b = compare_rows.pair(compare.read(project=project, numbers=numbers))
    queue = disagreement.review(
        a=a,
        b=b,
        kind=given.get("kind") or "differ",
        label=given.get("label", "")[:500],
        by=permissions.person(request),
    )
    return redirect("projects:review_detail", project.slug, queue.pk)


def _base(asked: str, numbers: list[int]) -> int | None:
    """The pinned run, if it is among those that are compared."""
    number = int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 10 else None
    return number if number in numbers else None


def _without(number: int, numbers: list[int]) -> str:
    return ",".join(str(one) for one in numbers if one != number)
