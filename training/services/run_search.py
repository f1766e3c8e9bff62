"""Finding runs: by status, tag, words, expression; in any order. For the table and for REST."""

from typing import Any

from django.db.models import F, Prefetch, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Now

from distillhub.lib.errors import Invalid
from projects.models import DatasetVersion, ModelVersion, Project
from training.models import Run
from training.services import run_filters
from training.services.run_filters import METRIC

LONGEST = 200  # characters of words to look for

#: What the table can be sorted by, besides `metrics.<name>`. A value that is missing sorts last.
ORDERS: dict[str, Any] = {
    "number": "number",
    "name": "name",
    "status": "status",
    "step": "step",
    "fraction": "fraction",
    "attempt": "attempt",
    "created_at": "created_at",
    "started_at": "started_at",
    "finished_at": "finished_at",
}
MISSING = 1e300  # beyond every metric


def search(
    *,
    project: Project,
    status: str = "",
    tag: str = "",
    q: str = "",
    filter: str = "",
    study: str = "",
    control: bool | None = None,
) -> QuerySet[Run]:
    """The project's runs, as far as they are to be found; `whole` reads what is shown of them.

    `status` may name several, separated by commas, or be `active`. Raises Invalid.
    """
    runs = Run.objects.filter(project=project)
    if status:
        runs = runs.filter(status__in=_statuses(status))
    if tag:
        runs = runs.filter(pk__in=Run.objects.tagged(tag).values("pk"))
    if q:
        runs = runs.filter(_mentions(q))
    if study:  # no run belongs to a study yet
        runs = runs.none()
    if control is not None:
        runs = runs.filter(control_of__isnull=not control)
    return run_filters.narrowed(runs, filter, project=project) if filter else runs


def whole() -> QuerySet[Run]:
    """Runs with what REST shows of each, however many in ten queries. What is the same for many of
    them is read once; of other runs only their numbers are."""
    numbers = Run.objects.only("number", "control_of")
    models: QuerySet[ModelVersion] = ModelVersion.objects.select_related("model")
    versions: QuerySet[DatasetVersion] = DatasetVersion.objects.select_related("dataset")
    return (
        Run.objects.select_related("project", "created_by", "worker", "control_of")
        .defer(*(f"control_of__{name}" for name in ("config", "metrics", "summary", "comparison")))
        .defer("worker__machine", "worker__load")
        .prefetch_related(
            Prefetch("dataset_version", versions),
            Prefetch("student", models),
            Prefetch("output", models),
            Prefetch("controls", numbers, to_attr="its_controls"),
            Prefetch("waits_for", Run.objects.only("number"), to_attr="its_waits"),
        )
    )


def ordered(runs: QuerySet[Run], order: str) -> tuple[QuerySet[Run], list[str]]:
    """The runs, and the columns to sort them by: `created_at`, `-metrics.val/accuracy`, ….

    Raises Invalid for what cannot be sorted by.
    """
    minus = "-" if order.startswith("-") else ""
    name = order.removeprefix("-")
    kind, _, series = name.partition(".")
    if kind == "metrics" and METRIC.fullmatch(series):
        last = Value(-MISSING if minus else MISSING)
        runs = runs.annotate(sorted_by=Coalesce(run_filters.metric(series), last))
        return runs, [f"{minus}sorted_by", "-number"]
    if name not in ORDERS:
        known = ", ".join([*ORDERS, "metrics.<name>"])
        sentence = f"Runs cannot be sorted by {name}; sort by {known}, with - for descending."
        raise Invalid(sentence, fields={"order": [sentence]})
    if name in ("started_at", "finished_at"):
        runs = runs.annotate(sorted_by=Coalesce(F(name), Now()))
        return runs, [f"{minus}sorted_by", "-number"]
    return runs, [f"{minus}{ORDERS[name]}"] + ([] if name == "number" else ["-number"])


def _statuses(asked: str) -> list[str]:
    wanted: list[str] = []
    for word in asked.split(","):
        if word == "active":
            wanted += [one for one in Run.Status.values if one not in Run.FINAL]
        elif word in Run.Status.values:
            wanted.append(word)
        else:
            known = ", ".join([*Run.Status.values, "active"])
            sentence = f"There is no status {word}; there are {known}."
            raise Invalid(sentence, fields={"status": [sentence]})
    return wanted


def _mentions(words: str) -> Q:
    """Every word stands in the name, the notes, a tag, or the name of the data or a model."""
    if len(words) > LONGEST:
        sentence = f"Look for at most {LONGEST} characters."
        raise Invalid(sentence, fields={"q": [sentence]})
    found = Q()
    for word in words.split():
        found &= (
            Q(name__icontains=word)
            | Q(notes__icontains=word)
            | Q(dataset_version__dataset__name__icontains=word)
            | Q(student__model__name__icontains=word)
            | Q(
                pk__in=Run.teachers.through.objects.filter(
                    modelversion__model__name__icontains=word
                ).values("run")
            )
            | (
                Q(number=int(word))
                if word.isascii() and word.isdigit() and len(word) < 9
                else Q(pk__in=[])
            )
        )
    return found
