"""The machines that train, for people to see."""

from datetime import timedelta
from typing import Any

from django.db.models import Prefetch
from django.utils import timezone

from projects.models import User
from training.models import Run, Worker
from training.worker.registration import ABSENT

FORGOTTEN = timedelta(days=1)  # a worker gone for so long is not listed


def listed(*, by: User) -> list[Worker]:
    """Workers seen within a day, those that are here first; each with `runs_here`, the runs it
    holds that this person may see. Two queries."""
    held = Run.objects.visible_to(by).running().select_related("project")
    workers = Worker.objects.filter(seen_at__gt=timezone.now() - FORGOTTEN).prefetch_related(
        Prefetch("runs", queryset=held, to_attr="runs_here")
    )
    return sorted(workers, key=lambda worker: (state(worker) != "online", worker.name))


def state(worker: Worker) -> str:
    """`online`, `stopped` (it said goodbye) or `lost` (it went silent)."""
    if worker.stopped_at is not None:
        return "stopped"
    return "online" if worker.seen_at > timezone.now() - ABSENT else "lost"


def queues(*, by: User) -> list[dict[str, Any]]:
    """Every queue with what waits in it and who serves it: `{"name", "queued", "workers"}`."""
    online = [worker for worker in listed(by=by) if state(worker) == "online"]
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
