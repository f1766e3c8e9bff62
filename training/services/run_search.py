"""Finding runs: by status, tag, words, expression; in any order. For the table and for REST."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q, QuerySet, Value
from django.db.models.functions import Coalesce, Now

from distillhub.lib.errors import Invalid
from projects.models import Project
from training.models import MetricSeries, Run
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
ARCHIVED = ("no", "only", "all")
MISSING = 1e300  # beyond every metric
NARROWED = (3, 16)  # times as many runs are looked at where a filter lets only some through


def search(
    *,
    project: Project,
    status: str = "",
    tag: str = "",
    q: str = "",
    filter: str = "",
    study: str = "",
    control: bool | None = None,
    archived: str = "",
    by_run: bool = False,
) -> QuerySet[Run]:
    """The project's runs, as far as they are to be found.

    `status` may name several, separated by commas, or be `active`. `archived` is `no` (as if empty:
    those that are archived are left out), `only` or `all`. `by_run` is for those who look
    at few runs only (`run_filters.narrowed`). Raises Invalid.
    """
    runs = listed(Run.objects.filter(project=project), archived)
    if status:
        runs = runs.filter(status__in=statuses(status))
    if tag:
        runs = runs.filter(pk__in=Run.objects.tagged(tag).values("pk"))
    if q:
        runs = runs.filter(_mentions(q))
    if study:
        runs = runs.filter(study__number=_whole("study", study))
    if control is not None:
        runs = runs.filter(control_of__isnull=not control)
    if not filter:
        return runs
    return run_filters.narrowed(runs, filter, project=project, by_run=by_run)


def listed(runs: QuerySet[Run], archived: str = "") -> QuerySet[Run]:
    """Without what was archived, or `only` that, or `all`. Raises Invalid."""
    match archived:
        case "" | "no":
            return runs.filter(archived_at=None)
        case "only":
            return runs.filter(archived_at__isnull=False)
        case "all":
            return runs
    sentence = f"There is no {archived[:50]}; there are {', '.join(ARCHIVED)}."
    raise Invalid(sentence, fields={"archived": [sentence]})


@dataclass(frozen=True)
class Found:
    """The runs that were asked for, in an order (`created_at`, `-metrics.val/accuracy`, …)."""

    project: Project
    order: str
    asked: dict[str, Any]
    columns: list[str]  # to sort by

    def whole(self) -> QuerySet[Run]:
        return self._sorted(search(project=self.project, **self.asked))

    def few(
        self, count: int, *, is_descending: bool, beyond: str | None = None
    ) -> Iterator[QuerySet[Run]]:
        """In order of a metric: an index tells which come first."""
        series = _metric(self.order)
        if not series:
            return
        last = None if beyond is None else float(beyond)
        runs = None
        for times in NARROWED if self.asked else (1,):
            first = first_by(self.project, series, count * times, is_descending, last)
            if len(first) < count:
                return
            if runs is None:
                runs = self._sorted(search(project=self.project, by_run=True, **self.asked))
            yield runs.filter(pk__in=first)

    def _sorted(self, runs: QuerySet[Run]) -> QuerySet[Run]:
        series, name = _metric(self.order), self.order.removeprefix("-")
        if series:
            last = Value(-MISSING if self.order.startswith("-") else MISSING)
            return runs.annotate(sorted_by=Coalesce(run_filters.metric(series), last))
        if name in ("started_at", "finished_at"):
            return runs.annotate(sorted_by=Coalesce(F(name), Now()))
        return runs


def found(*, project: Project, order: str, **asked: Any) -> Found:
    """Raises Invalid for what cannot be sorted by; `search` for what cannot be asked."""
    minus = "-" if order.startswith("-") else ""
    name = order.removeprefix("-")
    if _metric(order) or name in ("started_at", "finished_at"):
        columns = [f"{minus}sorted_by", "-number"]
    elif name in ORDERS:
        columns = [f"{minus}{ORDERS[name]}", "-number"][: 1 if name == "number" else 2]
    else:
        known = ", ".join([*ORDERS, "metrics.<name>"])
        sentence = f"Runs cannot be sorted by {name}; sort by {known}, with - for descending."
        raise Invalid(sentence, fields={"order": [sentence]})
    return Found(project, order, asked, columns)


def _metric(order: str) -> str:
    """Of `-metrics.val/accuracy` the series."""
    kind, _, series = order.removeprefix("-").partition(".")
    return series if kind == "metrics" and METRIC.fullmatch(series) else ""


def first_by(
    project: Project, name: str, count: int, is_descending: bool, beyond: float | None = None
) -> list[int]:
    """Up to `count` of the project's runs that come first in order of a metric, and before all
    others: of those that share the last one's value there are all or none."""
    series = MetricSeries.objects.filter(
        project=project, name=name, run__isnull=False, last_value__isnull=False
    )
    if beyond is not None:
        series = series.filter(**{f"last_value__{'lt' if is_descending else 'gt'}": beyond})
    minus = "-" if is_descending else ""
    rows = list(
        series.order_by(f"{minus}last_value", f"{minus}run").values_list("run", "last_value")[
            : count + 1
        ]
    )
    if len(rows) > count:
        rows = [row for row in rows if row[1] != rows[-1][1]]
    return [pk for pk, _ in rows]


def _whole(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        sentence = "It must be a number."
        raise Invalid(f"{name}: {sentence}", fields={name: [sentence]})
    return int(text)


def statuses(asked: str) -> list[str]:
    """Several, separated by commas; `active` are all that are not over. Raises Invalid."""
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
