"""Runs that are trained elsewhere: begun, told of and ended by what trains them.

A tracked run stands in the tables and charts beside those that are trained here. Everything may be
sent again, and in any order (worker/arrivals.py); what a person cancelled takes nothing more.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import IntegerField
from django.db.models.functions import Now
from django.utils import timezone

from distillhub.lib.errors import Conflict, Invalid, Missing
from distillhub.lib.phrased import Given, Phrased
from projects.models import Project, User
from training.models import Run, run_announcements
from training.services import launching, runs
from training.worker import arrivals
from training.worker import logs as console
from training.worker.logs import Line
from training.worker.metrics import Measured

MOST_PARAMS = 2000
MOST_SERIES = 10_000  # of one run
LONGEST_KEY = 250
LONGEST_VALUE = 6000  # characters of a parameter, written as JSON

ENDS = {
    "finished": Run.Status.FINISHED,
    "failed": Run.Status.FAILED,
    "cancelled": Run.Status.CANCELLED,
}
#: The same as choices, for OpenAPI.
ENDED = [(word, word) for word in ENDS]
#: A run that is told of, locked.
HELD = Phrased(
    lambda: (
        Run.objects.select_for_update()
        .only(
            *("number", "project_id", "status", "origin", "config", "metrics"),
            *("step", "steps", "attempt", "started_at"),
        )
        .filter(
            project_id=Given("project", IntegerField()),
            number=Given("number", IntegerField()),
        )
    )
)


@transaction.atomic
def begin(
    *,
    project: Project,
    by: User,
    name: str = "",
    task: str = "",
    params: Mapping[str, Any] | None = None,
    tags: Sequence[str] = (),
    notes: str = "",
    started_at: datetime | None = None,
) -> Run:
    """A run that is in training from now on, or from when its program says. Raises Invalid, and
    Conflict in an archived project."""
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be tracked in it.")
    number = launching.next_number(project)
    run = Run(
        project=project,
        number=number,
        name=f"run {number}",
        status=Run.Status.TRAINING,
        origin=Run.Origin.TRACKED,
        task=task,
        config={"params": parameters({}, params or {})},
        created_by=by,
        started_at=started_at or Now(),
        heard_at=Now(),
    )
    run.save()
    run.refresh_from_db()
    runs.edit(run=run, name=name or None, notes=notes or None, tags=tags or None, by=by)
    sentence = f"Begun by {by.display_name}, who trains it elsewhere."
    run.tell("training", sentence, by=by)
    run_announcements.announce(run, "run.started", sentence, by=by)
    return run


def record(*, project: Project, number: int, points: Iterable[Measured]) -> int:
    """Keep what it measured; how many points were sent. Raises Missing, Conflict and Invalid."""
    measured = list(points)
    with transaction.atomic():
        run = _hold(project, number)
        Run.objects.filter(pk=run.pk).update(**measure(run, measured), heard_at=Now())
    return len(measured)


def measure(run: Run, measured: Sequence[Measured]) -> dict[str, Any]:
    """Store points of a run that is held; what is to be written into its row. Raises Invalid."""
    latest = arrivals.record(run, measured)
    if len(run.metrics) + len(latest) > MOST_SERIES and len(run.metrics | latest) > MOST_SERIES:
        raise Invalid(f"A run has at most {MOST_SERIES:,} series.", code="too_many_series")
    step = max((point.step for point in measured), default=0)
    return {
        "metrics": run.metrics | latest,
        **_progress(run, step=max(run.step, step), steps=run.steps),
    }


def say(*, project: Project, number: int, lines: Iterable[Line]) -> None:
    """Add lines to its console. Raises Missing and Conflict."""
    with transaction.atomic():
        run = _hold(project, number)
        console.append(run, lines)
        Run.objects.filter(pk=run.pk).update(heard_at=Now())


def describe(
    *,
    project: Project,
    number: int,
    params: Mapping[str, Any] | None = None,
    steps: int | None = None,
    stage: str | None = None,
) -> None:
    """Lay parameters over those that it has, say how many steps it will take, and what it does now.
    Raises Missing, Conflict and Invalid."""
    with transaction.atomic():
        run = _hold(project, number)
        changes: dict[str, Any] = {"heard_at": Now()}
        if params is not None:
            changes["config"] = {"params": parameters(run.config.get("params", {}), params)}
        if steps is not None:
            changes |= {"steps": steps} | _progress(run, step=run.step, steps=steps)
        if stage is not None:
            changes["stage"] = stage
        Run.objects.filter(pk=run.pk).update(**changes)


def end(
    *,
    project: Project,
    number: int,
    by: User,
    status: str = "finished",
    error: str = "",
    finished_at: datetime | None = None,
) -> Run:
    """It is over. Said again it is no fault; another end than the one it came to is.

    Raises Missing and Conflict.
    """
    wanted = ENDS[status]
    with transaction.atomic():
        run = _hold(project, number, cancelled_too=True)
        changes: dict[str, Any] = {"finished_at": finished_at or Now(), "heard_at": Now()}
        if wanted == Run.Status.FINISHED:
            changes["fraction"] = 1.0
        if wanted == Run.Status.FAILED:
            changes["error"] = {
                "code": "failed",
                "detail": error or "Its program told that it failed, and no more.",
            }
        if run.move_to(wanted, among=Run.WORKING, stage="", **changes):
            run.tell(status, _told(run, error), by=by)
        elif run.status != wanted:
            raise Conflict(f"Run {number} is already {run.status}.", code="already_over")
    return run


def _hold(project: Project, number: int, *, cancelled_too: bool = False) -> Run:
    """The run, locked until the transaction ends: of two batches one is written after the other."""
    run = HELD.first(project=project.pk, number=number)
    if run is None:
        raise Missing(f"There is no run {number} in this project.")
    if not run.is_tracked:
        sentence = f"Run {number} is trained here; what it measures is not told from outside."
        raise Conflict(sentence, code="trained_here")
    if run.status == Run.Status.CANCELLED and not cancelled_too:
        raise Conflict(f"Run {number} was cancelled; stop its training.", code="cancelled")
    return run


def _progress(run: Run, *, step: int, steps: int | None) -> dict[str, Any]:
    """How far it is, and by its speed until now how long it takes still."""
    if not steps or run.is_final:
        return {"step": step}
    fraction = min(1.0, step / steps)
    left = None
    if fraction > 0 and run.started_at is not None:
        taken = (timezone.now() - run.started_at).total_seconds()
        left = max(0.0, taken * (1 - fraction) / fraction)
    return {"step": step, "fraction": fraction, "eta_seconds": left}


def parameters(known: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """Plain values stay what they are. Raises Invalid for names and values that are too long."""
    whole = {**known, **told}
    if len(whole) > MOST_PARAMS:
        raise Invalid(f"A run has at most {MOST_PARAMS:,} parameters.", fields={"params": ["Many"]})
    for name, value in told.items():
        if not 1 <= len(name) <= LONGEST_KEY:
            sentence = f"A parameter's name has 1 to {LONGEST_KEY} characters."
            raise Invalid(sentence, fields={"params": [sentence]})
        if len(value if isinstance(value, str) else repr(value)) > LONGEST_VALUE:
            sentence = f"The parameter {name} is longer than {LONGEST_VALUE:,} characters."
            raise Invalid(sentence, fields={"params": [sentence]})
    return whole


def _told(run: Run, error: str) -> str:
    at = f" at step {run.step:,}".replace(",", " ") if run.step else ""
    if run.status == Run.Status.FINISHED:
        return f"Finished{at}."
    ended = "Failed" if run.status == Run.Status.FAILED else "Cancelled by its program"
    return f"{ended}{at}: {error}" if error else f"{ended}{at}."
