"""The queue: what trains, what waits, in which order and why."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

from projects.models import User
from training.models import Run
from training.services import queue as queues
from training.services import runs

MOST = 100  # runs of a line that are shown; the others are counted


@require_safe
@vary_on_headers("HX-Request")
def queue(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    name = request.GET.get("queue", "")
    board = queues.board(by=request.user, queue=name, most=MOST)
    context = {
        "title": "Queue",
        "section": "queue",
        "queue": name,
        "priorities": [one.label for one in reversed(Run.Priority)],
        "parts": _parts(board, name),
    }
    part = "training/_queue.html" if request.headers.get("HX-Request") else "training/queue.html"
    return render(request, part, context)


def _parts(board: queues.Board, name: str) -> list[dict[str, Any]]:
    """The sections of the page; without runs only those that have something to say then."""
    lines = board.lines or {name or "default": queues.Part([], 0)}
    shown = [
        ("In training", "", board.running, "Nothing trains now."),
        ("Paused", "", board.paused, ""),
        *(("In line", f"queue {name}", part, "Nothing is queued.") for name, part in lines.items()),
        ("Waiting for another run", "", board.waiting, ""),
    ]
    return [
        {"heading": heading, "note": note, "count": part.count, "more": part.more}
        | {"rows": _rows(part, board), "nothing": nothing}
        for heading, note, part, nothing in shown
        if part.count or nothing
    ]


def _rows(part: queues.Part, board: queues.Board) -> list[dict[str, Any]]:
    """Runs, where they stand, and what this person may do to each."""
    return [
        {
            "place": one.place,
            "run": one.run,
            "can": runs.actions(one.run)
            if one.run and one.run.project_id in board.editable
            else [],
        }
        for one in part.standing
    ]
