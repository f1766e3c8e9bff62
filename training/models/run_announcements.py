"""What a project hears of its runs: an event for what matters, made of the run as it is now."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from projects.models import Event, User

if TYPE_CHECKING:
    from training.models.run import Run

JSON = dict[str, Any]

MOST_METRICS = 50
FIRST = ("test/", "val/")  # of a run with more series than are told
RELATED = ("dataset_version__dataset", "student__model", "output__model", "study", "created_by")

#: Lines of a timeline of which the project hears, each as `run.` and its name.
ENDS = ("finished", "failed", "cancelled")
STARTED = "started"
OF_MEMBERS = {"run.beat_the_best", *(f"run.{line}" for line in ENDS)}


def hear(run: "Run", line: str, sentence: str, by: User | None) -> None:
    """After a line was added to the timeline, in the same transaction."""
    if line in ENDS or (line == STARTED and run.attempt == 1):
        announce(run, f"run.{line}", sentence, by=by)


def announce(
    run: "Run",
    kind: str,
    sentence: str,
    *,
    by: User | None = None,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Of a run that stands for itself. A control is told beside its run, a trial by its sweep, and
    of the others of a study only how they end, and whether that is best."""
    if run.control_of_id is not None:
        return
    if run.study_id is not None and kind not in OF_MEMBERS:
        return
    now = type(run).objects.select_related(*RELATED).get(pk=run.pk)  # whole, and as it was written
    if now.study is not None and now.study.kind == "sweep":
        return
    Event.objects.tell(
        project_id=now.project_id,
        kind=kind,
        subject=str(now.number),
        title=now.name,
        sentence=sentence,
        by=by,
        data=facts(now) | dict(more or {}),
    )


def facts(run: "Run") -> JSON:
    """As event_kinds.py has them."""
    seconds = None
    if run.started_at is not None and run.finished_at is not None:
        seconds = round((run.finished_at - run.started_at).total_seconds(), 3)
    error = run.error or {}
    return {
        "number": run.number,
        "name": run.name,
        "status": str(run.status),
        "origin": str(run.origin),
        "task": run.task,
        "dataset": run.dataset_version.reference if run.dataset_version is not None else None,
        "student": run.student.reference if run.student is not None else None,
        "study": run.study.number if run.study is not None else None,
        "tags": [str(tag) for tag in run.tags],
        "by": run.created_by.username,
        "attempt": run.attempt,
        "step": run.step,
        "metrics": _metrics(run.metrics),
        "output": run.output.reference if run.output is not None else None,
        "error": {name: str(error.get(name, "")) for name in ("code", "detail")} if error else None,
        "seconds": seconds,
    }


def _metrics(whole: Mapping[str, Any]) -> JSON:
    names = sorted(whole, key=lambda name: (not name.startswith(FIRST), name))
    return {name: whole[name] for name in names[:MOST_METRICS]}
