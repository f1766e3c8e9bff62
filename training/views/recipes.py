"""What other libraries' settings are here. Every change is the same address with other values,
so a translation can be sent to somebody as a link."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from projects.models import Project, Role
from projects.permissions import person
from training.forms.recipes import RecipeDraft

#: What htmx asks to be replaced, and what it gets.
PARTS = {"recipe-form": "_recipe_form.html", "recipe-result": "_recipe_result.html"}


@require_safe
@vary_on_headers("HX-Target")
def recipes(request: HttpRequest) -> HttpResponse:
    editable = Project.objects.active().filter(
        memberships__user=person(request), memberships__role__in=[Role.EDITOR, Role.OWNER]
    )
    draft = RecipeDraft(request.GET, list(editable))
    context = {
        "title": "Recipes of other libraries",
        "section": "recipes",
        "draft": draft,
        # Only the project whose form led here; the page itself belongs to none.
        "project": draft.project if request.GET.get("project") else None,
    }
    part = PARTS.get(request.headers.get("HX-Target", ""), "recipes.html")
    return render(request, f"training/{part}", context)
