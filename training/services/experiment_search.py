"""Finding runs of experiments as MLflow's clients ask for them: a filter, orders, a stretch.

A filter becomes a `Q` over annotations with names of our own: nothing typed ever names a column or
a lookup. Of a run that has no such metric, parameter or tag no comparison with it is true.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    Exists,
    F,
    FloatField,
    Func,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Cast, Concat

from distillhub.lib.errors import Invalid
from projects.models import Project
from training.models import ExperimentRun, MetricSeries, Run, RunInput
from training.services import tracking_filters
from training.services.experiment_runs import NAME, NOTES, STATES, typed
from training.services.experiments import seen
from training.services.tracking_filters import RUNS, Clause

MOST_ORDERS = 20
GREATEST = 1.7976931348623157e308
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
COMPARED = {">": "gt", ">=": "gte", "=": "exact", "<": "lt", "<=": "lte"}
#: Of a metric that is infinite, the comparisons that hold with every number.
ABOVE, BELOW = (">", ">=", "!="), ("<", "<=", "!=")

Runs = QuerySet[Run]

#: What clients read of a run; the rest of its row stays where it is.
READ = (
    *("name", "notes", "status", "config", "metrics", "started_at", "finished_at", "archived_at"),
    *("experiment_run__key", "experiment_run__user", "experiment_run__status"),
    *("experiment_run__tags", "experiment_run__outputs", "experiment_run__deleted_at"),
    "experiment_run__experiment__number",
)


def search(
    *,
    project: Project,
    experiments: Iterable[int],
    text: str = "",
    order_by: Iterable[str] = (),
    view: str = "ACTIVE_ONLY",
) -> QuerySet[Run]:
    """Runs of the experiments with these numbers, each with its `experiment_run`. Raises
    Invalid."""
    clauses = tracking_filters.parse(text, RUNS)
    orders = [tracking_filters.parse_order(one, RUNS) for one in order_by]
    if len(orders) > MOST_ORDERS:
        raise Invalid(f"Runs are ordered by at most {MOST_ORDERS} columns.")
    of = ExperimentRun.objects.filter(
        experiment__project=project, experiment__number__in=list(experiments)
    )
    runs = (
        Run.objects.select_related("experiment_run__experiment")
        .only(*READ)
        .filter(project=project, experiment_run__in=of)
    )
    gone = Q(experiment_run__deleted_at__isnull=False, archived_at__isnull=False)
    if not seen(None, view):
        runs = runs.filter(gone)
    elif view != "ALL":
        runs = runs.exclude(gone)
    reading = _Reading(runs, project)
    for clause in clauses:
        reading.narrow(clause)
    return reading.ordered(orders)


class Like(Func):
    """A text and a pattern with % and _; the case counts. No sign escapes another."""

    output_field = BooleanField()
    arity = 2

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="(%(expressions)s ESCAPE '')", arg_joiner=" LIKE "
        )


class ILike(Like):
    """The same, whatever the case (in SQLite of ASCII letters alone)."""

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="(%(expressions)s ESCAPE '')", arg_joiner=" ILIKE "
        )

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s)", arg_joiner=" LIKE ")


class Glob(Func):
    """SQLite's LIKE for which the case counts; its signs are others."""

    output_field = BooleanField()
    template = "(%(expressions)s)"
    arg_joiner = " GLOB "
    arity = 2


def is_like(what: Any, pattern: str, *, case: bool, on: str) -> Q:
    """Whether a text is like a pattern, in the language of a database."""
    if case and on == "sqlite":
        signs = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
        globbed = "".join(signs.get(letter, letter) for letter in pattern)
        return Q(Glob(what, Value(globbed)))
    return Q((Like if case else ILike)(what, Value(pattern)))


def _text_at(key: str, of: Any) -> Cast:
    """What stands under a key of JSON, to be compared as a text and not as JSON."""
    return Cast(KeyTextTransform(key, of), TextField())


class _Reading:
    """Collects annotations on the way."""

    def __init__(self, runs: Runs, project: Project) -> None:
        self.runs, self.project = runs, project
        self.count = 0

    def narrow(self, clause: Clause) -> None:
        wanted = self._wanted(clause)  # which annotates what it is asked of
        self.runs = self.runs.filter(wanted)

    def _wanted(self, clause: Clause) -> Q:
        match clause.kind:
            case "metric":
                return self._measured(clause)
            case "parameter":
                return self._param(clause)
            case "tag":
                return self._text(self._tag_text(clause.key), clause)
            case "dataset":
                return self._given(clause)
            case _:
                return self._own(clause)

    def ordered(self, orders: Sequence[tuple[str, str, bool]]) -> Runs:
        """Missing values come last, and NaN before them; then the newest first."""
        by: list[Any] = []
        for kind, key, ascending in orders:
            if kind == "metric":
                value, rank = self._value_of(key)
                by.append(F(rank).asc())
            elif kind == "parameter":
                value = self._alias(_text_at(key, KeyTransform("params", "config")))
            elif kind == "tag":
                value = self._alias(self._tag_text(key))
            else:
                value = self._alias(self._column(key))
            column = F(value)
            by.append(column.asc(nulls_last=True) if ascending else column.desc(nulls_last=True))
        return self.runs.order_by(*by, F("started_at").desc(nulls_last=True), "-number")

    def _alias(self, what: Any) -> str:
        self.count += 1
        name = f"asked_{self.count}"
        self.runs = self.runs.alias(**{name: what})
        return name

    # Metrics

    def _measured(self, clause: Clause) -> Q:
        series = MetricSeries.objects.filter(
            project=self.project, name=clause.key, run__isnull=False
        )
        value = float(clause.value)
        if clause.comparator == "!=":
            finite = series.filter(last_value__isnull=False).exclude(last_value=value)
        else:
            finite = series.filter(**{f"last_value__{COMPARED[clause.comparator]}": value})
        wanted = Q(pk__in=finite.values("run"))
        words = [
            word
            for word, holds in (("Infinity", ABOVE), ("-Infinity", BELOW))
            if clause.comparator in holds
        ]
        if words:
            word = _text_at(clause.key, "run__metrics")
            endless = series.filter(last_value=None).alias(word=word).filter(word__in=words)
            wanted |= Q(pk__in=endless.values("run"))
        return wanted

    def _value_of(self, name: str) -> tuple[str, str]:
        series = MetricSeries.objects.filter(run=OuterRef("pk"), name=name)
        finite = Subquery(series.values("last_value")[:1], output_field=FloatField())
        self.runs = self.runs.alias(
            **{f"finite_{self.count}": finite, f"there_{self.count}": Exists(series)},
            **{f"word_{self.count}": _text_at(name, "metrics")},
        )
        word, there = f"word_{self.count}", f"there_{self.count}"
        found = F(f"finite_{self.count}")
        value = self._alias(
            Case(
                When(**{f"finite_{self.count}__isnull": False}, then=found),
                When(**{word: "Infinity"}, then=Value(GREATEST)),
                When(**{word: "-Infinity"}, then=Value(-GREATEST)),
                default=None,
                output_field=FloatField(),
            )
        )
        rank = self._alias(
            Case(
                When(**{f"{value}__isnull": False}, then=0),
                When(**{there: True}, then=1),
                default=2,
                output_field=IntegerField(),
            )
        )
        return value, rank

    # Texts

    def _param(self, clause: Clause) -> Q:
        params = KeyTransform("params", "config")
        if clause.comparator not in ("=", "!=", "IN", "NOT IN"):
            return self._text(_text_at(clause.key, params), clause)
        name = self._alias(KeyTransform(clause.key, params))
        as_text = self._alias(_text_at(clause.key, params))
        found = Q(pk__in=[])
        for text in clause.value if isinstance(clause.value, list) else [clause.value]:
            value = typed(text)
            same = Q(**{f"{name}__exact": value})
            if not isinstance(value, str) and value == int(value):  # 3 and 3.0 are two texts
                same &= Q(**{as_text: text})
            found |= same
        if clause.comparator in ("!=", "NOT IN"):
            return Q(**{f"{name}__isnull": False}) & ~found
        return found

    def _tag_text(self, key: str) -> Any:
        if key == NAME:
            return F("name")
        if key == NOTES:
            return Case(When(~Q(notes=""), then=F("notes")), default=None, output_field=TextField())
        return _text_at(key, "experiment_run__tags")

    def _text(self, what: Any, clause: Clause) -> Q:
        name, value = self._alias(what), clause.value
        there = Q(**{f"{name}__isnull": False})
        match clause.comparator:
            case "IS NULL":
                return ~there
            case "IS NOT NULL":
                return there
            case "=":
                return Q(**{name: value})
            case "!=":
                return there & ~Q(**{name: value})
            case "IN":
                return Q(**{f"{name}__in": value})
            case "NOT IN":
                return there & ~Q(**{f"{name}__in": value})
            case _:
                is_case = clause.comparator == "LIKE"
                return there & is_like(F(name), value, case=is_case, on=self._vendor)

    @property
    def _vendor(self) -> str:
        return str(connections[self.runs.db].vendor)

    def _given(self, clause: Clause) -> Q:
        inputs = RunInput.objects.filter(run=OuterRef("pk"))
        if clause.key == "context":
            inputs = inputs.exclude(context="")
        found = _Reading(inputs, self.project)  # type: ignore[arg-type]
        wanted = found._text(F(clause.key), clause)
        return Q(Exists(found.runs.filter(wanted)))

    # What a run is

    def _own(self, clause: Clause) -> Q:
        if clause.key == "status":
            return self._text(self._column("status"), clause)
        if clause.key in ("start_time", "end_time"):
            return _when(self._column(clause.key).name, clause)
        return self._text(self._column(clause.key), clause)

    def _column(self, key: str) -> Any:
        match key:
            case "run_id":
                return F("experiment_run__key")
            case "run_name":
                return F("name")
            case "user_id":
                return F("experiment_run__user")
            case "start_time":
                return F("started_at")
            case "end_time":
                return F("finished_at")
            case "status":
                return Case(
                    *(When(status=ours, then=Value(said)) for ours, said in STATES.items()),
                    default=F("experiment_run__status"),
                    output_field=CharField(),
                )
            case _:
                return Concat(
                    Value("mlflow-artifacts:/"),
                    Cast("experiment_run__experiment__number", CharField()),
                    Value("/"),
                    F("experiment_run__key"),
                    Value("/artifacts"),
                    output_field=CharField(),
                )


def _when(column: str, clause: Clause) -> Q:
    """Milliseconds since the epoch, of which clients know no parts; beyond all moments nothing is,
    and everything before."""
    asked = float(clause.value)
    if not -6e13 < asked < 2.5e14:
        holds = asked > 0 if clause.comparator in ("<", "<=") else asked < 0
        holds = holds if clause.comparator in COMPARED and clause.comparator != "=" else False
        found = Q(**{f"{column}__isnull": False})
        return found if holds or clause.comparator == "!=" else Q(pk__in=[])
    whole = math.floor(asked)
    begin, end = (EPOCH + timedelta(milliseconds=whole + more) for more in (0, 1))
    inside = Q(**{f"{column}__gte": begin, f"{column}__lt": end})
    there = Q(**{f"{column}__isnull": False})
    is_whole = whole == asked
    match clause.comparator:
        case "=":
            return inside if is_whole else Q(pk__in=[])
        case "!=":
            return there & ~inside if is_whole else there
        case ">":
            return Q(**{f"{column}__gte": end})
        case ">=":
            return Q(**{f"{column}__gte": begin if is_whole else end})
        case "<":
            return Q(**{f"{column}__lt": begin if is_whole else end})
        case _:
            return Q(**{f"{column}__lt": end})
