"""Experiments: the groups into which MLflow's clients put their runs, numbered in their project.

The first, number 0, is called Default. Clients use it unasked, so it is there from the beginning,
and becomes a row when something is first put into it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Count, Max, Q, QuerySet
from django.db.models.functions import Now

from distillhub.lib.errors import Conflict, Invalid, Missing
from projects.models import Project
from training.models import Experiment, ExperimentRun, Run
from training.services import tracking_filters

DEFAULT = "Default"
LONGEST_NAME = 500
LONGEST_KEY = 250
LONGEST_VALUE = 20_000
MOST_TAGS = 2000

VIEWS = ("ACTIVE_ONLY", "DELETED_ONLY", "ALL")


class Taken(Conflict):
    """Something else has this name."""

    code = "taken"


def of_project(project: Project) -> list[Experiment]:
    """All there are, in order of their numbers."""
    found = list(Experiment.objects.filter(project=project))
    return found if found and found[0].number == 0 else [_default(project), *found]


def counted(project: Project) -> QuerySet[Experiment]:
    """Those that are not deleted, with how many `tracked` runs each has, and when one was `heard`
    last."""
    active = Q(runs__deleted_at=None)
    found = Experiment.objects.filter(project=project, deleted_at=None).annotate(
        tracked=Count("runs", filter=active), heard=Max("runs__run__heard_at", filter=active)
    )
    return found.order_by("number")  # which counting forgets


def find(*, project: Project, number: str) -> Experiment:
    """By the id that clients have for it. Raises Missing."""
    if number.isascii() and number.isdigit() and len(number) < 10:
        found = Experiment.objects.filter(project=project, number=int(number)).first()
        if found is not None:
            return found
        if int(number) == 0:
            return _default(project)
    raise Missing(f"No Experiment with id={number[:50]} exists")


def by_name(*, project: Project, name: str) -> Experiment:
    """Raises Missing."""
    found = Experiment.objects.filter(project=project, name=name).first()
    if found is None and name == DEFAULT:
        try:  # it may have been given another name
            found = find(project=project, number="0")
        except Missing:
            found = None
        if found is not None and found.name != DEFAULT:
            found = None
    if found is None:
        raise Missing(f"Could not find experiment with name '{name[:LONGEST_NAME]}'")
    return found


def kept(experiment: Experiment) -> Experiment:
    """The same as a row: Default becomes one when something is put into it."""
    if experiment.pk is None:
        found, _ = Experiment.objects.get_or_create(
            project=experiment.project, number=0, defaults={"name": DEFAULT}
        )
        return found
    return experiment


@transaction.atomic
def create(*, project: Project, name: str, tags: Mapping[str, str] | None = None) -> Experiment:
    """The next one. Raises Invalid, Taken, and Conflict in an archived project."""
    if project.archived_at is not None:
        raise Conflict("This project is archived; nothing new can be tracked in it.")
    _check_name(name)
    Project.objects.select_for_update().get(pk=project.pk)
    found = Experiment.objects.filter(project=project)
    newest = found.aggregate(newest=Max("number"))["newest"] or 0
    taken = found.filter(name=name).first()
    if taken is None and name == DEFAULT and not found.filter(number=0).exists():
        taken = _default(project)
    if taken is not None:
        deleted = " It is deleted; restore it." if taken.deleted_at else ""
        raise Taken(f"Experiment '{name}' already exists.{deleted}")
    return Experiment.objects.create(
        project=project, number=newest + 1, name=name, tags=laid({}, tags or {})
    )


@transaction.atomic
def rename(*, experiment: Experiment, name: str) -> None:
    """Raises Invalid, Taken, and Conflict when it is deleted."""
    _check_name(name)
    experiment = _active(kept(experiment))
    experiment.name = name
    try:
        with transaction.atomic():
            experiment.save(update_fields=["name", "changed_at"])
    except IntegrityError:
        raise Taken(f"Experiment '{name}' already exists.") from None


@transaction.atomic
def tag(*, experiment: Experiment, key: str, value: str) -> None:
    """Raises Invalid, and Conflict when it is deleted."""
    experiment = _active(kept(experiment))
    experiment.tags = laid(experiment.tags, {key: value})
    experiment.save(update_fields=["tags", "changed_at"])


@transaction.atomic
def untag(*, experiment: Experiment, key: str) -> None:
    """Raises Missing, and Conflict when it is deleted."""
    experiment = _active(kept(experiment))
    if experiment.tags.pop(key, None) is None:
        raise Missing(f"No tag with name: {key[:LONGEST_KEY]} in experiment {experiment.number}")
    experiment.save(update_fields=["tags", "changed_at"])


@transaction.atomic
def delete(*, experiment: Experiment) -> None:
    """Put it away with its runs: `restore` brings all of them back. Raises Missing when that was
    done before."""
    experiment = Experiment.objects.select_for_update().get(pk=kept(experiment).pk)
    if experiment.deleted_at is not None:
        raise Missing(f"No Experiment with id={experiment.number} exists")
    Experiment.objects.filter(pk=experiment.pk).update(deleted_at=Now(), changed_at=Now())
    runs = ExperimentRun.objects.filter(experiment=experiment, deleted_at=None)
    Run.objects.filter(pk__in=list(runs.values_list("pk", flat=True))).update(archived_at=Now())
    runs.update(deleted_at=Now())


@transaction.atomic
def restore(*, experiment: Experiment) -> None:
    """Raises Missing when it is not deleted."""
    experiment = Experiment.objects.select_for_update().get(pk=kept(experiment).pk)
    if experiment.deleted_at is None:
        raise Missing(f"Experiment {experiment.number} is not deleted.")
    gone_with_it = {"deleted_at__gte": experiment.deleted_at}  # not those that were gone before
    runs = ExperimentRun.objects.filter(experiment=experiment, **gone_with_it)
    Run.objects.filter(pk__in=list(runs.values_list("pk", flat=True))).update(archived_at=None)
    runs.update(deleted_at=None)
    Experiment.objects.filter(pk=experiment.pk).update(deleted_at=None, changed_at=Now())


def search(
    *, project: Project, text: str = "", order_by: Iterable[str] = (), view: str = "ACTIVE_ONLY"
) -> list[Experiment]:
    """Raises Invalid."""
    clauses = tracking_filters.parse(text, tracking_filters.EXPERIMENTS)
    orders = [tracking_filters.parse_order(one, tracking_filters.EXPERIMENTS) for one in order_by]
    found = [
        one
        for one in of_project(project)
        if seen(one.deleted_at, view) and all(_holds(clause, one) for clause in clauses)
    ]
    found.sort(key=lambda one: (-one.created_at.timestamp(), -one.number))
    for _, key, ascending in reversed(orders):
        found.sort(key=lambda one: _value(one, key), reverse=not ascending)
    return found


def seen(deleted_at: datetime | None, view: str) -> bool:
    """Raises Invalid for a view that is not known."""
    if view not in VIEWS:
        raise Invalid(f"Invalid view type '{view[:50]}'. Valid view types are {', '.join(VIEWS)}")
    return view == "ALL" or (deleted_at is None) == (view == "ACTIVE_ONLY")


def millis(moment: datetime | None) -> int | None:
    """Since the epoch."""
    return None if moment is None else round(moment.timestamp() * 1000)


def check_key(key: str) -> None:
    """Raises Invalid."""
    if not 1 <= len(key) <= LONGEST_KEY:
        raise Invalid(f"A key has 1 to {LONGEST_KEY} characters; '{key[:50]}' has {len(key)}.")


def laid(known: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """Tags over those there are. Raises Invalid."""
    whole = {**known, **told}
    if len(whole) > MOST_TAGS:
        raise Invalid(f"There are at most {MOST_TAGS:,} tags.")
    for key, value in told.items():
        check_key(key)
        if len(value) > LONGEST_VALUE:
            raise Invalid(f"The tag '{key}' is longer than {LONGEST_VALUE:,} characters.")
    return whole


def _default(project: Project) -> Experiment:
    at = project.created_at
    return Experiment(project=project, number=0, name=DEFAULT, created_at=at, changed_at=at)


def _active(experiment: Experiment) -> Experiment:
    """Locked until the transaction ends."""
    found = Experiment.objects.select_for_update().get(pk=experiment.pk)
    if found.deleted_at is not None:
        raise Invalid(
            f"The experiment {found.number} must be in the 'active' state. "
            "Current state is deleted."
        )
    return found


def _check_name(name: str) -> None:
    if not name.strip():
        raise Invalid("Missing value for required parameter 'name'.")
    if len(name) > LONGEST_NAME:
        raise Invalid(f"An experiment's name has at most {LONGEST_NAME} characters.")


def _holds(clause: tracking_filters.Clause, experiment: Experiment) -> bool:
    if clause.kind == "tag":
        return tracking_filters.holds(clause, experiment.tags.get(clause.key))
    return tracking_filters.holds(clause, _value(experiment, clause.key))


def _value(experiment: Experiment, key: str) -> Any:
    match key:
        case "name":
            return experiment.name
        case "experiment_id":
            return str(experiment.number)
        case "creation_time":
            return millis(experiment.created_at)
        case _:
            return millis(experiment.changed_at)
