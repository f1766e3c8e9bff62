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
    board = queues.board(by=request.user, queue=name)
    context = {
        "title": "Queue",
        "section": "queue",
        "board": board,
        "queue": name,
        "priorities": [one.label for one in reversed(Run.Priority)],
        "parts": [
            ("In training", "Nothing trains now.", _rows(board.running, board)),
            ("Paused", "", _rows(board.paused, board)),
        ],
        "lines": _lines(board),
        "waiting": [(said, _row(run, board)) for run, said in board.waiting],
    }
    part = "training/_queue.html" if request.headers.get("HX-Request") else "training/queue.html"
    return render(request, part, context)


def _lines(board: queues.Board) -> list[tuple[str, list[Any], int]]:
    """What is queued, by the name of the queue, each line in its order; and how many more."""
    lines: dict[str, list[Any]] = {"default": []} if not board.queued else {}
    for run, place in board.queued:
        lines.setdefault(place.queue, []).append((place, _row(run, board) if run else None))
    return [(name, rows[:MOST], len(rows[MOST:])) for name, rows in sorted(lines.items())]


def _rows(found: list[Run], board: queues.Board) -> list[tuple[Run, list[str]]]:
    return [_row(run, board) for run in found]


def _row(run: Run, board: queues.Board) -> tuple[Run, list[str]]:
    """A run, and what this person may do to it."""
    return run, runs.actions(run) if run.project_id in board.editable else []
