"""The machines that train: what they are, how busy they were, what runs where; draining them.

A worker serves everybody, so only who answers for everybody may drain one: an administrator, or a
person who owns every project there is.
"""

import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.db import transaction
from django.db.models import Prefetch
from django.db.models.functions import Now
from django.utils import timezone

from distillhub.lib.errors import Forbidden, Missing
from projects.models import Project, Role, User
from training.models import Run, Worker, WorkerEvent, WorkerLoad
from training.worker import dispatch, history
from training.worker.registration import ABSENT

log = logging.getLogger(__name__)

FORGOTTEN = timedelta(days=1)  # a worker gone for so long is not listed
HERE = ("online", "draining", "drained")
EVENTS = 20  # of a worker that are told


def listed(*, by: User) -> list[Worker]:
    """Workers seen within a day, those that are here first; each with `runs_here`, the runs it
    holds that this person may see, and `others_here`, how many more it holds. Three queries."""
    held = Run.objects.running().select_related("project")
    seen = set(Project.objects.visible_to(by).values_list("pk", flat=True))
    workers = Worker.objects.filter(seen_at__gt=timezone.now() - FORGOTTEN).prefetch_related(
        Prefetch("runs", queryset=held, to_attr="held_here")
    )
    for worker in workers:
        every: list[Run] = worker.held_here
        worker.runs_here = [run for run in every if run.project_id in seen]  # type: ignore[attr-defined]
        worker.others_here = len(every) - len(worker.runs_here)  # type: ignore[attr-defined]
    return sorted(workers, key=lambda worker: (state(worker) not in HERE, worker.name))


def find(*, worker_id: int) -> Worker:
    """Raises Missing."""
    worker = Worker.objects.filter(pk=worker_id).first()
    if worker is None:
        raise Missing("There is no such worker.")
    return worker


def state(worker: Worker) -> str:
    """`online`, `draining` (takes nothing new, and its runs are not done), `drained`, `stopped` (it
    said goodbye) or `lost` (it went silent)."""
    if worker.stopped_at is not None:
        return "stopped"
    if worker.seen_at <= timezone.now() - ABSENT:
        return "lost"
    if worker.drained_at is None:
        return "online"
    held = getattr(worker, "held_here", None)
    busy = worker.runs.running().exists() if held is None else bool(held)
    return "draining" if busy else "drained"


def is_busy(listed: Iterable[Worker]) -> bool:
    """Whether something runs: numbers change, and are worth asking for again."""
    return any(worker.held_here for worker in listed if state(worker) in HERE)  # type: ignore[attr-defined]


def queues(*, listed: Iterable[Worker]) -> list[dict[str, Any]]:
    """Every queue with what waits in it and who serves it: `{"name", "queued", "workers"}`."""
    online = [worker for worker in listed if state(worker) == "online"]
    waiting: dict[str, int] = {}
    for name in Run.objects.filter(status=Run.Status.QUEUED).values_list("queue", flat=True):
        waiting[name] = waiting.get(name, 0) + 1
    names = sorted({"default", *waiting, *(name for one in online for name in one.queues)})
    return [
        {
            "name": name,
            "queued": waiting.get(name, 0),
            "workers": [worker.name for worker in online if name in worker.queues],
        }
        for name in names
    ]


# -- draining -------------------------------------------------------------------------------------


def may_manage(*, by: User) -> bool:
    """Whether this person answers for everybody whose runs wait."""
    if by.is_superuser:
        return True
    active = Project.objects.filter(archived_at=None)
    owned = active.filter(memberships__user=by, memberships__role=Role.OWNER)
    return owned.exists() and not active.exclude(pk__in=owned).exists()


def managed(*, worker_id: int, by: User) -> Worker:
    """The worker, for who may drain it. Raises Missing and Forbidden."""
    worker = find(worker_id=worker_id)
    if not (by.is_superuser or by.memberships.exists()):
        raise Missing("There is no such worker.")  # for a stranger nothing is trained here
    if not may_manage(by=by):
        raise Forbidden(
            "This needs an administrator, or who owns every project: a worker serves them all."
        )
    return worker


@transaction.atomic
def drain(*, worker_id: int, now: bool = False, by: User) -> Worker:
    """Have a worker take nothing new. What it trains ends there; or, with `now`, writes a
    checkpoint and goes on elsewhere. Asked again, the latter may be chosen after the former.
    Raises Missing and Forbidden."""
    worker = managed(worker_id=worker_id, by=by)
    how = Worker.Drain.NOW if now else Worker.Drain.AFTER
    changed = Worker.objects.filter(pk=worker.pk).exclude(drain=how)
    if changed.update(drained_at=Now(), drain=how):
        what = "its runs go on elsewhere" if now else "its runs end there"
        _tell(worker, "drained", f"Drained by {by.display_name}: takes nothing new, {what}.", by)
        if now:
            for run in Run.objects.running().filter(worker=worker):
                run.tell(
                    "drained", f"Worker {worker.name} is drained: it goes on elsewhere.", by=by
                )
    worker.refresh_from_db()
    return worker


@transaction.atomic
def resume(*, worker_id: int, by: User) -> Worker:
    """Have a drained worker take runs again. Raises Missing and Forbidden."""
    worker = managed(worker_id=worker_id, by=by)
    drained = Worker.objects.filter(pk=worker.pk).exclude(drained_at=None)
    if drained.update(drained_at=None, drain=""):
        _tell(worker, "resumed", f"Resumed by {by.display_name}: takes runs again.", by)
        waiting = Run.objects.claimable(worker.queues).order_by("queued_at")
        for run in waiting[: worker.capacity]:
            dispatch.wake(run)
    worker.refresh_from_db()
    return worker


def events(*, worker: Worker) -> list[WorkerEvent]:
    """What happened to it, the newest first."""
    return list(worker.events.select_related("by").order_by("-pk")[:EVENTS])


def _tell(worker: Worker, kind: str, sentence: str, by: User) -> None:
    WorkerEvent.objects.create(worker=worker, kind=kind, sentence=sentence[:500], by=by)
    log.info("Worker %s: %s", worker.name, sentence)


# -- how busy they were ---------------------------------------------------------------------------


def load(
    *, workers: Iterable[Worker], window: str = "hour", since: float | None = None
) -> dict[int, dict[str, Any]]:
    """Of each worker `{"times", "series": {name: [...]}}` of the last hour or day; with `since`
    only what came after that moment. Times are seconds since the epoch; the series are `cpu` and
    `memory` in percent, and of each GPU `gpu0/load` in percent, `gpu0/memory` in bytes,
    `gpu0/celsius` and `gpu0/watts`. One query."""
    kind = history.WINDOWS[window]
    begin = timezone.now().timestamp() - kind.length
    begin = max(begin, since + 0.5) if since is not None else begin
    found: dict[int, dict[str, Any]] = {
        worker.pk: {"every": kind.every, "times": [], "series": {}} for worker in workers
    }
    rows = WorkerLoad.objects.filter(
        worker__in=found, every=kind.every, begins__gt=begin - kind.stretch
    )
    for row in rows.order_by("worker", "begins"):
        told = found[row.worker_id]
        first = next((place for place, at in enumerate(row.samples["times"]) if at >= begin), None)
        if first is None:
            continue
        before, times = len(told["times"]), row.samples["times"][first:]
        told["times"] += times
        for name in {*told["series"], *row.samples["series"]}:
            column = told["series"].setdefault(name, [None] * before)
            column += row.samples["series"].get(name, [None] * len(row.samples["times"]))[first:]
    return found
