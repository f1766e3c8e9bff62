"""The machines that train: what they are, how busy, what runs where; draining them."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.views.decorators.http import require_POST, require_safe

from distillhub.lib.errors import Missing
from projects.models import User
from training.charts import machines
from training.models import Worker
from training.services import teacher_outputs, workers
from training.worker.history import WINDOWS


@require_safe
def worker_list(request: HttpRequest) -> HttpResponse:
    assert isinstance(request.user, User)
    window = request.GET.get("window", "hour")
    if window not in WINDOWS:
        raise Missing("The load of workers is kept of an hour and of a day.")
    listed = workers.listed(by=request.user)
    loads = workers.load(workers=listed, window=window)
    stored = teacher_outputs.listed(by=request.user)
    context = {
        "title": "Workers",
        "section": "workers",
        "workers": [
            shown | {"charts": _charts(shown["worker"], loads), "html": _facts(request, shown)}
            for shown in _shown(request, listed)
        ],
        "queues": workers.queues(listed=listed),
        "busy": workers.is_busy(listed),
        "window": window,
        "windows": list(WINDOWS),
        "since": _newest(loads),
        "stored": stored,
        "store_sums": teacher_outputs.sums(shown=stored),
    }
    return render(request, "training/worker_list.html", context)


@require_safe
def worker_live(request: HttpRequest) -> JsonResponse:
    """What changed on that page since `since`, in one answer for all workers: their facts as HTML,
    their newest samples, the queues, and whether it is worth asking again."""
    assert isinstance(request.user, User)
    window = request.GET.get("window", "hour")
    since = request.GET.get("since", "")
    listed = workers.listed(by=request.user)
    loads = workers.load(
        workers=listed,
        window=window if window in WINDOWS else "hour",
        since=float(since) if since.isdecimal() and len(since) < 12 else None,
    )
    return JsonResponse(
        {
            "workers": {
                shown["worker"].pk: _facts(request, shown) for shown in _shown(request, listed)
            },
            "queues": render_to_string(
                "training/_worker_queues.html", {"queues": workers.queues(listed=listed)}, request
            ),
            "series": {
                f"worker/{worker.pk}/{name}": points
                for worker in listed
                for name, points in _points(loads[worker.pk]).items()
            },
            "since": _newest(loads),
            "busy": workers.is_busy(listed),
        }
    )


@require_POST
def worker_drain(request: HttpRequest, worker_id: int) -> HttpResponse:
    assert isinstance(request.user, User)
    workers.drain(worker_id=worker_id, now=request.POST.get("now") == "yes", by=request.user)
    return redirect("training:worker_list")


@require_POST
def worker_resume(request: HttpRequest, worker_id: int) -> HttpResponse:
    assert isinstance(request.user, User)
    workers.resume(worker_id=worker_id, by=request.user)
    return redirect("training:worker_list")


@require_POST
def teacher_output_free(request: HttpRequest, entry_id: int) -> HttpResponse:
    assert isinstance(request.user, User)
    teacher_outputs.free(entry_id=entry_id, by=request.user)
    return redirect("training:worker_list")


def _shown(request: HttpRequest, listed: list[Worker]) -> list[dict[str, Any]]:
    assert isinstance(request.user, User)
    may_manage = workers.may_manage(by=request.user)
    return [
        {
            "worker": worker,
            "state": workers.state(worker),
            "may_manage": may_manage and workers.state(worker) in workers.HERE,
            "events": workers.events(worker=worker)[:3] if worker.drained_at else [],
            "gpus": _gpus(worker),
        }
        for worker in listed
    ]


def _gpus(worker: Worker) -> list[dict[str, Any]]:
    """Each card with what is known of it now, and the runs that have it."""
    now = {one["index"]: one for one in worker.load.get("gpus") or []}
    found = []
    for card in worker.machine.get("gpus") or []:
        load = now.get(card["index"], {})
        used, size = load.get("memory_used_bytes"), card.get("memory_bytes")
        runs = [run for run in worker.runs_here if card["index"] in run.cards]  # type: ignore[attr-defined]
        found.append(
            card
            | load
            | {"memory_percent": 100 * used / size if used and size else None, "runs": runs}
        )
    return found


def _facts(request: HttpRequest, shown: dict[str, Any]) -> str:
    return render_to_string("training/_worker_facts.html", shown, request)


def _charts(worker: Worker, loads: dict[int, dict[str, Any]]) -> list[machines.Chart]:
    cards = {card["index"]: card["name"] for card in worker.machine.get("gpus") or []}
    return machines.of_worker(worker.pk, _points(loads[worker.pk]), cards)


def _points(load: dict[str, Any]) -> dict[str, dict[str, list[Any]]]:
    times = [at * 1000 for at in load["times"]]
    longest = 4000 * load["every"]
    return {
        name: machines.broken(times, column, longest) for name, column in load["series"].items()
    }


def _newest(loads: dict[int, dict[str, Any]]) -> int:
    return max((load["times"][-1] for load in loads.values() if load["times"]), default=0)
