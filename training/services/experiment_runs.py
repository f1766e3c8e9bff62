"""Runs of experiments: tracked runs, with what MLflow's clients know of them besides.

A run's name, notes, parameters, series and state are those of `Run`, whoever changes them: a person
on its page or a client. What only clients know (their id for it, who they say trains it, their
tags) stands in `ExperimentRun`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import CharField, IntegerField, QuerySet
from django.db.models.functions import Now

from distillhub.lib import phrased
from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project, User
from training.models import (
    Experiment,
    ExperimentRun,
    LoggedModel,
    MetricChunk,
    MetricSeries,
    Run,
    RunInput,
)
from training.models.metric import POINTS, Points
from training.services import experiments, runs, tracking
from training.worker.metrics import LONGEST_NAME, Measured

NAME, NOTES = "mlflow.runName", "mlflow.note.content"  # tags that are the run's own name and notes
METRIC = re.compile(r"[/\w.\- :]+")
MOST_INPUTS = 1000  # of a run
MOST_OUTPUTS = 10_000
LONGEST_INPUT = 1 << 20  # characters of what is told of one

#: What clients call the states of a run.
STATES = {
    Run.Status.FINISHED: "FINISHED",
    Run.Status.FAILED: "FAILED",
    Run.Status.CANCELLED: "KILLED",
}
ENDS = {"FINISHED": "finished", "FAILED": "failed", "KILLED": "cancelled"}
OPEN = ("RUNNING", "SCHEDULED")


def of_project(project: Project | phrased.Given) -> QuerySet[ExperimentRun]:
    return ExperimentRun.objects.select_related("run", "experiment").filter(
        run__project=project, experiment__project=project
    )


#: One that is told of, locked.
HELD = phrased.Phrased(
    lambda: (
        of_project(phrased.Given("project", IntegerField()))
        .select_for_update(of=("self", "run"))
        .filter(key=phrased.Given("key", CharField()))
    )
)


def find(*, project: Project, key: str) -> ExperimentRun:
    """Raises Missing."""
    found = of_project(project).filter(key=key).first()
    if found is None:
        raise Missing(f"Run with id={key[:64]} not found")
    return found


def status(one: ExperimentRun) -> str:
    """As clients say it."""
    return STATES.get(Run.Status(one.run.status), one.status)


def is_deleted(one: ExperimentRun) -> bool:
    """A client deleted it, and nobody brought it back since, on its page or elsewhere."""
    return one.deleted_at is not None and one.run.archived_at is not None


def tags(one: ExperimentRun) -> dict[str, str]:
    told = {**one.tags, NAME: one.run.name}
    return {**told, NOTES: one.run.notes} if one.run.notes else told


# Parameters are texts to clients, and numbers in our tables where nothing is lost by it. ----------


def typed(text: str) -> int | float | str:
    """A number where its text can be had back from it as it was."""
    if len(text) > 20 or not re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text, re.ASCII):
        return text
    number: int | float = int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    # Beyond, PostgreSQL writes the same number in other words.
    is_plain = text in ("0", "0.0") or 1e-15 <= abs(number) < 1e15
    return number if is_plain and repr(number) == text else text


def text_of(value: Any) -> str:
    """The text that a client sent, or one for what came another way."""
    return value if isinstance(value, str) else str(value)


def params(run: Run) -> dict[str, str]:
    return {name: text_of(value) for name, value in run.config.get("params", {}).items()}


# What clients do ----------------------------------------------------


@transaction.atomic
def begin(
    *,
    experiment: Experiment,
    by: User,
    name: str = "",
    user: str = "",
    tags: Mapping[str, str] | None = None,
    started_at: datetime | None = None,
) -> ExperimentRun:
    """A new run. Raises Invalid, and Conflict in an archived project."""
    if experiment.deleted_at is not None:
        raise Invalid(
            f"The experiment {experiment.number} must be in the 'active' state. "
            "Current state is deleted."
        )
    told = experiments.laid({}, tags or {})
    named = name or told.pop(NAME, "")
    told.pop(NAME, None)
    run = tracking.begin(
        project=experiment.project,
        by=by,
        name=named.strip()[: runs.LONGEST_NAME],
        notes=told.pop(NOTES, "")[: runs.LONGEST_NOTES],
        started_at=started_at,
    )
    return ExperimentRun.objects.create(
        run=run,
        experiment=experiments.kept(experiment),
        key=uuid4().hex,
        user=user[:256],
        tags=told,
    )


@transaction.atomic
def change(
    *,
    project: Project,
    key: str,
    by: User,
    status: str = "",
    ended_at: datetime | None = None,
    name: str = "",
) -> ExperimentRun:
    """It ended, goes on, or is called otherwise. What a person cancelled stays so when its program
    ends, and goes on when its program says so. Raises Missing and Invalid."""
    one = _held(project, key)
    if name:
        runs.edit(run=one.run, name=name.strip()[: runs.LONGEST_NAME], by=by)
    if status in OPEN:
        if one.run.is_final:
            runs.resume(run=one.run, by=by)
        if one.status != status:
            one.status = status
            one.save(update_fields=["status"])
    elif status in ENDS:
        _end(one, ENDS[status], ended_at, by)
    elif status:
        raise Invalid(f"Invalid run status '{status[:50]}'.")
    return find(project=project, key=key)


def _end(one: ExperimentRun, status: str, ended_at: datetime | None, by: User) -> None:
    run = one.run
    if run.is_final:
        if run.cancel_requested_at is not None:
            return
        if run.status != tracking.ENDS[status]:
            runs.resume(run=run, by=by)
        elif ended_at is not None:
            Run.objects.filter(pk=run.pk).update(finished_at=ended_at)
    tracking.end(project=run.project, number=run.number, by=by, status=status, finished_at=ended_at)


@transaction.atomic
def log(
    *,
    project: Project,
    key: str,
    points: Sequence[Measured] = (),
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
) -> None:
    """All of it, or nothing. What was sent before changes nothing.

    Raises Missing, Invalid also for a parameter that has another value already, and Conflict when a
    person cancelled the run: its training is to stop.
    """
    one = _held(project, key)
    run = one.run
    if run.status == Run.Status.CANCELLED and run.cancel_requested_at is not None:
        raise Conflict(f"Run {run.number} was cancelled; stop its training.", code="cancelled")
    changes: dict[str, Any] = {"heard_at": Now()}
    if params:
        changes["config"] = {"params": _laid(one, params)}
    if points:
        changes |= tracking.measure(run, points)
    if tags:
        changes |= _tagged(one, tags)
    Run.objects.filter(pk=run.pk).update(**changes)


def _laid(one: ExperimentRun, told: Mapping[str, str]) -> dict[str, Any]:
    known = one.run.config.get("params", {})
    for name, text in told.items():
        if name in known and text_of(known[name]) != text:
            raise Invalid(
                f"Changing param values is not allowed. Param with key='{name}' was already "
                f"logged with value='{text_of(known[name])[:200]}' for run ID='{one.key}'. "
                f"Attempted logging new value '{text[:200]}'."
            )
    fresh = {name: typed(text) for name, text in told.items() if name not in known}
    return tracking.parameters(known, fresh)


def _tagged(one: ExperimentRun, told: Mapping[str, str]) -> dict[str, Any]:
    """Keep tags; what is to be written into the run's own row."""
    changes: dict[str, Any] = {}
    own = experiments.laid(one.tags, told)
    if name := own.pop(NAME, "").strip():
        changes["name"] = name[: runs.LONGEST_NAME]
    if (notes := own.pop(NOTES, None)) is not None:
        changes["notes"] = notes[: runs.LONGEST_NOTES]
    if own != one.tags:
        one.tags = own
        one.save(update_fields=["tags"])
    return changes


@transaction.atomic
def untag(*, project: Project, key: str, tag: str) -> None:
    """Raises Missing and Invalid."""
    one = _held(project, key)
    if tag == NOTES and one.run.notes:
        Run.objects.filter(pk=one.run.pk).update(notes="")
    elif one.tags.pop(tag, None) is not None:
        one.save(update_fields=["tags"])
    else:
        raise Missing(f"No tag with name: {tag[:250]} in run with id {key}")


@transaction.atomic
def delete(*, project: Project, key: str) -> None:
    """Put it away: clients see it as deleted, and lists no longer show it. Raises Missing."""
    one = find(project=project, key=key)
    ExperimentRun.objects.filter(pk=one.pk).update(deleted_at=Now())
    Run.objects.filter(pk=one.pk).update(archived_at=Now())


@transaction.atomic
def restore(*, project: Project, key: str) -> None:
    """Raises Missing."""
    one = find(project=project, key=key)
    ExperimentRun.objects.filter(pk=one.pk).update(deleted_at=None)
    Run.objects.filter(pk=one.pk).update(archived_at=None)


@dataclass(frozen=True, slots=True)
class Given:
    """A dataset that a run reads, as a client tells of it."""

    name: str
    digest: str
    told: dict[str, str]
    tags: dict[str, str]


@transaction.atomic
def log_inputs(*, project: Project, key: str, inputs: Iterable[Given]) -> None:
    """Raises Missing and Invalid."""
    run = _held(project, key).run
    for one in inputs:
        if not 1 <= len(one.name) <= 500 or not 1 <= len(one.digest) <= 36:
            raise Invalid("A dataset has a name of 1 to 500 and a digest of 1 to 36 characters.")
        if sum(map(len, one.told.values())) > LONGEST_INPUT:
            raise Invalid(f"What is told of dataset '{one.name[:50]}' is longer than a megabyte.")
        context = one.tags.get("mlflow.data.context", "")[:500]
        fields = {"told": one.told, "context": context, "tags": experiments.laid({}, one.tags)}
        RunInput.objects.get_or_create(run=run, name=one.name, digest=one.digest, defaults=fields)
    if RunInput.objects.filter(run=run).count() > MOST_INPUTS:
        raise Invalid(f"A run has at most {MOST_INPUTS:,} datasets.")
    Run.objects.filter(pk=run.pk).update(heard_at=Now())


@transaction.atomic
def log_outputs(*, project: Project, key: str, models: Mapping[str, int]) -> None:
    """Models that it made, by their ids the steps at which it made them. Raises Missing and
    Invalid."""
    one = _held(project, key)
    known = LoggedModel.objects.filter(project=project, key__in=list(models))
    missing = set(models) - set(known.values_list("key", flat=True))
    if missing:
        raise Missing(f"Logged model with ID '{min(missing)[:64]}' not found.")
    whole = {entry["model_id"]: entry["step"] for entry in one.outputs} | dict(models)
    if len(whole) > MOST_OUTPUTS:
        raise Invalid(f"A run has at most {MOST_OUTPUTS:,} models.")
    one.outputs = [{"model_id": model, "step": step} for model, step in whole.items()]
    one.save(update_fields=["outputs"])
    Run.objects.filter(pk=one.pk).update(heard_at=Now())


def _held(project: Project, key: str) -> ExperimentRun:
    """Locked until the transaction ends, and in no bin."""
    one = HELD.first(project=project.pk, key=key)
    if one is None:
        raise Missing(f"Run with id={key[:64]} not found")
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be tracked in it.")
    if is_deleted(one):
        raise Invalid(f"The run {one.key} must be in the 'active' state. Current state is deleted.")
    return one


# What was measured ----------------------------------------------------


def check_metric(name: str) -> None:
    """Raises Invalid."""
    if not METRIC.fullmatch(name) or len(name) > LONGEST_NAME:
        raise Invalid(
            f"Invalid metric name: '{name[:100]}'. Names have 1 to {LONGEST_NAME} characters: "
            "alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), "
            "colon(:) and slashes (/)."
        )


def latest(of: Iterable[Run]) -> dict[int, list[Measured]]:
    """Of each run the latest point of every series: that of the greatest step, time and value. One
    query."""
    by_run = {run.pk: run for run in of}
    found: dict[int, list[Measured]] = {pk: [] for pk in by_run}
    rows = MetricSeries.objects.filter(run__in=list(by_run)).order_by("name")
    for pk, name, step, value, at in rows.values_list(
        "run", "name", "last_step", "last_value", "last_time"
    ):
        if value is None:  # not finite: the run has the word for it
            value = float(by_run[pk].metrics.get(name, "NaN"))
        found[pk].append(Measured(name, step, value, at or 0.0))
    return found


def history(*, run: Run, name: str, start: int, most: int) -> tuple[Points, bool]:
    """Points of a series from a place on, and whether there are more. Two queries."""
    series = MetricSeries.objects.filter(run=run, name=name).first()
    if series is None or start >= series.count:
        return Points.join([]), False
    first, end = start // POINTS, min(series.count, start + most)
    chunks = MetricChunk.objects.filter(
        series=series, index__gte=first, index__lte=(end - 1) // POINTS
    ).order_by("index")
    whole = Points.join([chunk.points for chunk in chunks])
    return whole[start - first * POINTS : end - first * POINTS], end < series.count
