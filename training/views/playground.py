"""The playground: models asked about one input, side by side, and what is right said of it."""

import json
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from csp.decorators import csp_update
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from distillhub.lib import rest
from distillhub.lib.errors import DomainError, Invalid
from projects import permissions
from projects.models import Project, Role
from projects.permissions import person
from projects.services import feedback
from training.services import playground, runs, serving
from training.views import playground_answers

JSON = dict[str, Any]
VECTORS = "feature-extraction"
ACCEPTED = {
    "image-classification": "image/*",
    "audio-classification": "audio/*,.wav,.flac,.mp3,.ogg",
}
LISTENS = "camera=(), microphone=(self), geolocation=(), payment=(), usb=(), interest-cohort=()"
CELL = "cell:"
MOST_BUDGET = 100  # of one question


@csp_update({"media-src": ["blob:"]})  # type: ignore[untyped-decorator]
@require_http_methods(["GET", "HEAD", "POST"])
def page(request: HttpRequest, project_slug: str) -> HttpResponse:
    """`?ask=tiny@3&ask=big@1`, or `?run=12`; posted to, what each answers to an input."""
    project = permissions.project_for(request.user, project_slug)
    number = request.GET.get("run", "")
    run = None
    if number.isascii() and number.isdigit() and len(number) < 10:
        run = runs.find(project=project, number=int(number))
    fault, players = "", []
    try:
        players = playground.players(project=project, asked=request.GET.getlist("ask"), run=run)
    except Invalid as error:
        fault = error.detail
    context = _context(request, project, players, fault)
    target = request.headers.get("HX-Target", "")
    rows = playground.rows_of(players, run) if players else None
    if request.method == "POST" and players:
        context |= _answers(request, players, list(rows.labels) if rows else [], context)
    context["rows_of"] = rows
    place = request.GET.get("examples", "")
    if rows is not None and place.isascii() and place.isdigit() and len(place) < 6:
        context |= _examples(rows, int(place))
    parts = {"answers": "_playground_answers", "examples": "_playground_examples"}
    template = parts.get(target, "playground")
    answer = render(request, f"training/{template}.html", context)
    answer.headers["Permissions-Policy"] = LISTENS
    return answer


def _context(
    request: HttpRequest, project: Project, players: list[playground.Player], fault: str
) -> JSON:
    task = players[0].task if players else None
    references = [one.reference for one in players]
    here = reverse("training:playground", args=[project.slug])
    offered = playground.offered(project=project, task=task)
    return {
        "title": "Playground",
        "section": "playground",
        "project": project,
        "fault": fault,
        "task": task,
        "players": [
            {
                "player": one,
                "without": _address(here, [other for other in references if other != name]),
            }
            for one, name in zip(players, references, strict=True)
        ],
        "references": references,
        "here": _address(here, references),
        "query": _address("", references),
        "offered": [(name, words) for name, words in offered if name not in references],
        "may_add": len(players) < playground.MOST_ASKED,
        "accepts": ACCEPTED.get(task or ""),
        "listens": task == "audio-classification",
        "columns": playground.columns(players[0]) if task == serving.TABLES else [],
        "compares": task == VECTORS,
        "writes": task == serving.WRITTEN,
        "costs": any(one.version is not None and one.version.is_asked for one in players),
        "given": request.POST,
        "cells": _cells(request),
        "may_edit": project.allows(Role.EDITOR) and project.archived_at is None,
    }


def _address(here: str, references: list[str]) -> str:
    return f"{here}?{urlencode({'ask': references}, doseq=True)}" if references else here


def _answers(
    request: HttpRequest, players: list[playground.Player], labels: list[str], context: JSON
) -> JSON:
    """What the answers' part shows; a sentence where the input is none."""
    task = players[0].task
    try:
        inputs, written = _inputs(request, task), _written(request, task)
        budget = _budget(request) if context["may_edit"] else None
        said = playground.ask(
            players=players, inputs=inputs, written=written, budget=budget, labels=labels
        )
    except DomainError as error:
        return {"refused": error.detail.removeprefix("inputs.0: ")}
    text = inputs[0] if isinstance(inputs[0], str) else ""
    return playground_answers.shown(said, task, text)


def _inputs(request: HttpRequest, task: str) -> list[Any]:
    """Raises Invalid."""
    if task in ACCEPTED:
        file = request.FILES.get("file")
        if file is None or not file.size:
            raise Invalid("Choose a file, drop one here, or paste one.")
        if file.size > serving.MOST_BYTES:
            raise Invalid(f"The file is larger than {serving.MOST_BYTES >> 20} MiB.")
        return [file.read()]
    if task == serving.TABLES:
        return [_cells(request)]
    text = request.POST.get("text", "").replace("\r\n", "\n")
    if not text.strip():
        raise Invalid("Write something first.")
    other = request.POST.get("other", "").replace("\r\n", "\n")
    return [text, other] if task == VECTORS and other.strip() else [text]


def _cells(request: HttpRequest) -> JSON:
    return {
        name.removeprefix(CELL): value.strip() or None
        for name, value in request.POST.items()
        if name.startswith(CELL) and isinstance(value, str)
    }


def _budget(request: HttpRequest) -> Decimal | None:
    """What one question may cost. Raises Invalid."""
    text = request.POST.get("budget", "").strip()
    if not text:
        return None
    try:
        budget = Decimal(text)
    except InvalidOperation:
        raise Invalid("The budget is a number.") from None
    if not (budget.is_finite() and 0 <= budget <= MOST_BUDGET):
        raise Invalid(f"The budget is a number from 0 to {MOST_BUDGET}.")
    return budget


def _written(request: HttpRequest, task: str) -> JSON | None:
    if task != serving.WRITTEN:
        return None
    try:
        return {
            "most": min(max(int(request.POST.get("most") or 64), 1), serving.MOST_TOKENS),
            "temperature": min(max(float(request.POST.get("temperature") or 0), 0.0), 2.0),
            "seed": min(max(int(request.POST.get("seed") or 0), 0), 2**31 - 1),
            "shown": 5,
        }
    except ValueError:
        raise Invalid("Tokens, temperature and seed are numbers.") from None


def _examples(rows: Any, place: int) -> JSON:
    try:
        found, total = playground.examples(version=rows, place=place)
    except DomainError as error:
        return {"examples": [], "no_examples": error.detail}
    return {
        "examples": [
            {
                "row": row,
                "text": row.get("prompt") or row.get("text") or "",
                "cells": json.dumps({name: row.get(name) for name in rows.features}),
                "told": ", ".join(
                    f"{row[name]:g}" if isinstance(row[name], float) else str(row[name])
                    for name in list(rows.features)[:6]
                    if row.get(name) is not None
                ),
            }
            for row in found
        ],
        "column": rows.input_column,
        "next_place": place + 1,
        "more": total > playground.EXAMPLES,
    }  # fmt: skip


@require_POST
def save_feedback(request: HttpRequest, project_slug: str) -> HttpResponse:
    """The input of the page with what is right."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    context: JSON = {"project": project}
    back = _address(reverse("training:playground", args=[project.slug]), request.GET.getlist("ask"))
    try:
        asked = [one for one in request.GET.getlist("ask") if one]
        players = playground.players(project=project, asked=asked)
        if not players:
            raise Invalid("Choose a model first.")
        task = players[0].task
        given = _inputs(request, task)[0]
        feedback.save(
            project=project,
            task=task,
            given=given,
            label=_right(request, task),
            said=_said(request.POST.get("said", "")),
            note=request.POST.get("note", ""),
            by=person(request),
        )
    except DomainError as error:
        context["refused"] = error.detail
    if not request.headers.get("HX-Request"):
        return redirect(back)
    return render(request, "training/_playground_saved.html", context)


def _right(request: HttpRequest, task: str) -> Any:
    several = request.POST.getlist("right")
    if request.POST.get("several"):
        return several
    text = several[0] if several else ""
    return text.split() if task == "token-classification" else text


def _said(text: str) -> list[JSON]:
    try:
        said = rest.loaded((text or "[]").encode())
    except ValueError:
        raise Invalid("What was answered cannot be read; ask again.") from None
    return said if isinstance(said, list) else []
