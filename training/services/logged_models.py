"""Models that MLflow's clients log: a checkpoint, or what a training made. Their files are kept as
they are (tracked_files.py) and never loaded."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from distillhub.lib.errors import Invalid, Missing
from projects.models import Project
from training.models import Experiment, LoggedModel
from training.services import experiment_runs, experiments, tracking, tracking_filters
from training.services.experiments import millis

STATES = ("LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED")
TYPE = "mlflow.model.type"  # kept among the tags under a name that no client gives
LONGEST_NAME = 500


def find(*, project: Project, key: str) -> LoggedModel:
    """Raises Missing."""
    found = (
        LoggedModel.objects.select_related("experiment", "run__experiment_run")
        .filter(project=project, key=key, deleted_at=None)
        .first()
    )
    if found is None:
        raise Missing(f"Logged model with ID '{key[:64]}' not found.")
    return found


@transaction.atomic
def create(
    *,
    experiment: Experiment,
    name: str = "",
    run_id: str = "",
    params: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    model_type: str = "",
) -> LoggedModel:
    """Raises Invalid and Missing."""
    project = experiment.project
    if experiment.deleted_at is not None:
        raise Invalid(
            f"The experiment {experiment.number} must be in the 'active' state. "
            "Current state is deleted."
        )
    if len(name) > LONGEST_NAME:
        raise Invalid(f"A model's name has at most {LONGEST_NAME} characters.")
    run = experiment_runs.find(project=project, key=run_id).run if run_id else None
    key = f"m-{uuid4().hex}"
    told = experiments.laid({}, tags or {})
    if model_type:
        told[TYPE] = model_type[:500]
    return LoggedModel.objects.create(
        project=project,
        experiment=experiments.kept(experiment),
        key=key,
        name=name or key,
        run=run,
        params=_params([], params or {}),
        tags=told,
    )


@transaction.atomic
def log_params(*, project: Project, key: str, params: Mapping[str, str]) -> None:
    """Raises Missing and Invalid."""
    model = _held(project, key)
    model.params = _params(model.params, params)
    model.save(update_fields=["params", "changed_at"])


@transaction.atomic
def finish(*, project: Project, key: str, status: str) -> LoggedModel:
    """Say how its upload ended. Raises Missing and Invalid."""
    if status not in STATES:
        raise Invalid(f"Invalid model status '{status[:50]}'; there are {', '.join(STATES)}.")
    model = _held(project, key)
    model.status = status
    model.save(update_fields=["status", "changed_at"])
    return find(project=project, key=key)


@transaction.atomic
def tag(*, project: Project, key: str, tags: Mapping[str, str]) -> LoggedModel:
    """Raises Missing and Invalid."""
    model = _held(project, key)
    model.tags = experiments.laid(model.tags, tags)
    model.save(update_fields=["tags", "changed_at"])
    return find(project=project, key=key)


@transaction.atomic
def untag(*, project: Project, key: str, tag: str) -> None:
    """Raises Missing."""
    model = _held(project, key)
    if model.tags.pop(tag, None) is None:
        raise Missing(f"No tag with key {tag[:250]!r} found for model with ID '{key}'.")
    model.save(update_fields=["tags", "changed_at"])


@transaction.atomic
def delete(*, project: Project, key: str) -> None:
    """Put it away; its files stay as long as its run is there. Raises Missing."""
    model = _held(project, key)
    LoggedModel.objects.filter(pk=model.pk).update(deleted_at=Now())


def search(
    *,
    project: Project,
    experiments: Sequence[int],
    text: str = "",
    order_by: Sequence[tuple[str, bool]] = (),
) -> list[LoggedModel]:
    """The newest first, or in order of fields, each up or not. Raises Invalid."""
    clauses = tracking_filters.parse(text, tracking_filters.LOGGED_MODELS)
    found = (
        LoggedModel.objects.select_related("experiment", "run__experiment_run")
        .filter(
            project=project,
            experiment__number__in=list(experiments),
            experiment__deleted_at=None,
            deleted_at=None,
        )
        .order_by("-created_at", "-id")
    )
    kept = [
        one
        for one in _narrowed(found, clauses)
        if all(tracking_filters.holds(clause, value(one, clause)) for clause in clauses)
    ]
    for name, ascending in reversed(order_by):
        kind, key, _ = tracking_filters.parse_order(name, tracking_filters.LOGGED_MODELS)
        clause = tracking_filters.Clause(kind, key, "=", None)
        missing = [one for one in kept if value(one, clause) is None]
        there = [one for one in kept if value(one, clause) is not None]
        there.sort(key=lambda one: value(one, clause), reverse=not ascending)
        kept = there + missing
    return kept


def _narrowed(
    found: QuerySet[LoggedModel], clauses: Sequence[tracking_filters.Clause]
) -> QuerySet[LoggedModel]:
    """By what is most asked for, so that few of thousands of rows are read."""
    columns = {"name": "name", "model_id": "key", "source_run_id": "run__experiment_run__key"}
    for clause in clauses:
        column = columns.get(clause.key)
        if clause.kind == "attribute" and clause.comparator == "=" and column:
            found = found.filter(**{column: clause.value})
    return found


def value(one: LoggedModel, clause: tracking_filters.Clause) -> Any:
    """What a model has under the name of a clause."""
    if clause.kind == "tag":
        return one.tags.get(clause.key)
    if clause.kind == "parameter":
        return dict(one.params).get(clause.key)
    match clause.key:
        case "name":
            return one.name
        case "model_id":
            return one.key
        case "model_type":
            return one.tags.get(TYPE)
        case "status":
            return one.status.removeprefix("LOGGED_MODEL_").removeprefix("UPLOAD_")
        case "source_run_id":
            return run_key(one)
        case "creation_timestamp":
            return millis(one.created_at)
        case _:
            return millis(one.changed_at)


def run_key(one: LoggedModel) -> str | None:
    """The id of the run that logged it, while there is one."""
    side = getattr(one.run, "experiment_run", None)
    return side.key if side is not None else None


def _params(known: Sequence[tuple[str, str]], told: Mapping[str, str]) -> list[list[str]]:
    whole = dict(known) | dict(told)
    if len(whole) > tracking.MOST_PARAMS:
        raise Invalid(f"A model has at most {tracking.MOST_PARAMS:,} parameters.")
    for name, text in told.items():
        experiments.check_key(name)
        if len(text) > tracking.LONGEST_VALUE:
            raise Invalid(
                f"The parameter '{name}' is longer than {tracking.LONGEST_VALUE:,} characters."
            )
    return [[name, text] for name, text in whole.items()]


def _held(project: Project, key: str) -> LoggedModel:
    """Locked until the transaction ends."""
    found = (
        LoggedModel.objects.select_for_update()
        .filter(project=project, key=key, deleted_at=None)
        .first()
    )
    if found is None:
        raise Missing(f"Logged model with ID '{key[:64]}' not found.")
    return found
