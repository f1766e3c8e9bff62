"""The language of `?filter=`: comparisons joined by and, or, not and parentheses.

    metrics.val/accuracy > 0.9 and config.losses.soft_targets.temperature = 4
    (status = failed or attempt > 2) and not tag = baseline
    name contains "small" and dataset = banking77@1

`metrics.` compares the latest value of a series, `config.` what was asked (a loss is named by its
kind), `params.` what was told of a tracked run; `experiment` is what MLflow calls a group of runs.
An expression becomes a `Q` over annotations with names of our own: nothing typed ever names a
column or a lookup.
"""

import re
from collections.abc import Callable
from typing import Any

from django.db.models import (
    Case,
    CharField,
    Exists,
    F,
    FloatField,
    Func,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.fields.json import KeyTransform

from distillhub.lib.errors import Invalid
from projects.models import DatasetVersion, Project
from training import catalog
from training.engine.config import KNOWN
from training.models import ExperimentRun, ImportedRun, MetricSeries, Run

#: Metrics that runs are judged by of which less is better.
FALLING = ("rmse", "perplexity", "bits_per_character")
#: What labels are besides one class, where runs of one task are judged by other metrics for it.
NAMED = ("multi_label", "regression")
LONGEST = 2000  # characters
MOST = 30  # comparisons
DEEPEST = 20  # parentheses
MOST_LOSSES = 8  # terms that are looked through for a kind

TOKEN = re.compile(
    r"""\s*(?:
        (?P<text>"[^"\\]*"|'[^'\\]*')
      | (?P<bracket>[()])
      | (?P<operator>>=|<=|!=|==|=|>|<)
      | (?P<word>[^\s()=<>!"']+)
    )""",
    re.VERBOSE,
)
#: What is no column of a run.
FURTHER = (
    *("tag", "experiment", "dataset", "student"),
    *("metrics.…", "config.…", "params.…"),
)
LOOKUPS = {"=": "exact", "==": "exact", "!=": "exact", ">": "gt", ">=": "gte", "<": "lt"} | {
    "<=": "lte",
    "contains": "icontains",
}
SEGMENT = re.compile(r"[A-Za-z0-9_]{1,60}", re.ASCII)
METRIC = re.compile(r"[A-Za-z0-9_./ :-]{1,250}", re.ASCII)

#: What else can be compared: the field, and what its value is read as.
COLUMNS: dict[str, tuple[str, type]] = {
    "number": ("number", int),
    "attempt": ("attempt", int),
    "step": ("step", int),
    "name": ("name", str),
    "notes": ("notes", str),
    "status": ("status", str),
    "task": ("task", str),
    "queue": ("queue", str),
    "created_by": ("created_by__username", str),
    "control_of": ("control_of__number", int),
}

Runs = QuerySet[Run]


def narrowed(runs: Runs, expression: str, *, project: Project, by_run: bool = False) -> Runs:
    """Those of the project's runs for which the expression is true. With `by_run` each is looked at
    by itself, which is quick for few. Raises Invalid, saying where it stopped making sense."""
    if len(expression) > LONGEST:
        raise _wrong(f"It is longer than {LONGEST} characters.")
    reading = _Reading(runs, project, _tokens(expression), by_run)
    wanted = reading.expression(0)
    if reading.rest():
        raise _wrong(f"Something is left over after a whole expression: {reading.rest()}")
    return reading.runs.filter(wanted)


def metric(name: str) -> Subquery:
    """The latest finite value of a series, as an annotation."""
    series = MetricSeries.objects.filter(run=OuterRef("pk"), name=name)
    return Subquery(series.values("last_value")[:1], output_field=FloatField())


def headline(split: str, project: Project) -> Case:
    """What each run of a project is judged by on a split, so that more is better: errors are
    negative. Only runs of one kind compare."""
    named: list[When] = []
    plain: list[When] = []
    for task in catalog.tasks():
        for problem, names in task["metrics"].items():
            if names[0] == "accuracy":
                continue
            value: Any = metric(f"{split}/{names[0]}")
            if names[0] in FALLING:
                value = -1.0 * value
            of_task = Q(task=task["key"])
            if problem in NAMED:
                named.append(When(of_task & Q(dataset_version__in=_of(problem, project)), value))
            else:
                plain.append(When(of_task, then=value))
    return Case(*named, *plain, default=metric(f"{split}/accuracy"), output_field=FloatField())


def problem(project: Project) -> Case:
    """What a label of each run's rows is, where it is not one class."""
    kinds = [When(dataset_version__in=_of(kind, project), then=Value(kind)) for kind in NAMED]
    return Case(*kinds, default=Value(""), output_field=CharField())


def _of(kind: str, project: Project) -> QuerySet[Any]:
    """Dataset versions whose labels are of a kind. There are few, so they are looked for once, and
    not at every run."""
    versions = DatasetVersion.objects.filter(dataset__project=project, reading__problem=kind)
    return versions.order_by().values("pk")


class Seconds(Func):
    """Of a moment, so that both databases take differences without Python's help."""

    arity = 1
    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="(86400.0 * JULIANDAY(%(expressions)s))", **context
        )

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(
            compiler, connection, template="EXTRACT(EPOCH FROM %(expressions)s)", **context
        )


def _tokens(expression: str) -> list[tuple[str, str]]:
    found, place = [], 0
    expression = expression.rstrip()
    while place < len(expression):
        match = TOKEN.match(expression, place)
        if match is None:
            raise _wrong(f"It cannot be read from here on: {expression[place : place + 20]}")
        kind = str(match.lastgroup)
        found.append((kind, match[kind]))
        place = match.end()
    return found


class _Reading:
    """A recursive descent over the tokens, collecting annotations on the way."""

    def __init__(
        self, runs: Runs, project: Project, tokens: list[tuple[str, str]], by_run: bool
    ) -> None:
        self.runs, self.project, self.tokens, self.by_run = runs, project, tokens, by_run
        self.place, self.count = 0, 0

    def rest(self) -> str:
        return " ".join(text for _, text in self.tokens[self.place :])[:60]

    def expression(self, depth: int) -> Q:
        if depth > DEEPEST:
            raise _wrong("It is nested too deeply.")
        wanted = self._all(depth)
        while self._take("or"):
            wanted |= self._all(depth)
        return wanted

    def _all(self, depth: int) -> Q:
        wanted = self._one(depth)
        while self._take("and"):
            wanted &= self._one(depth)
        return wanted

    def _one(self, depth: int) -> Q:
        if self._take("not"):
            return ~self._one(depth)
        if self._take("("):
            wanted = self.expression(depth + 1)
            if not self._take(")"):
                raise _wrong("A parenthesis is not closed.")
            return wanted
        return self._comparison()

    def _comparison(self) -> Q:
        self.count += 1
        if self.count > MOST:
            raise _wrong(f"It has more than {MOST} comparisons.")
        field = self._next("the name of a field")
        operator = self._next(f"a comparison after {field}").lower()
        if operator not in LOOKUPS:
            raise _wrong(f"{operator} is no comparison; use one of {', '.join(LOOKUPS)}.")
        quoted = self.place < len(self.tokens) and self.tokens[self.place][0] == "text"
        word = self._next(f"a value after {field} {operator}")
        value = word[1:-1] if quoted else _value(word)
        wanted = self._compare(field, LOOKUPS[operator], value)
        return ~wanted if operator == "!=" else wanted

    def _compare(self, field: str, lookup: str, value: Any) -> Q:
        kind, _, rest = field.partition(".")
        if kind == "metrics" and METRIC.fullmatch(rest):
            return self._measured(rest, lookup, _number(field, value))
        if kind == "params" and METRIC.fullmatch(rest):
            params = KeyTransform("params", "config")
            return self._on(KeyTransform(rest, params), lookup, value)
        if kind == "config":
            return self._config(field, rest.split("."), lookup, value)
        if field == "tag":
            return Q(pk__in=self.runs.model.objects.tagged(str(value)).values("pk"))
        if field == "experiment":
            return self._experiment(lookup, str(value))
        if field in ("dataset", "student"):
            return self._on(KeyTransform(field, "config"), lookup, str(value))
        if field not in COLUMNS:
            known = ", ".join([*COLUMNS, *FURTHER])
            raise _wrong(f"There is no field {field}; there are {known}.")
        column, kind_of = COLUMNS[field]
        read: Callable[[], Any] = {int: lambda: _number(field, value), str: lambda: str(value)}[
            kind_of
        ]
        return self._on(F(column), lookup, read())

    def _measured(self, name: str, lookup: str, value: float) -> Q:
        """By one index, in order of the values, or run by run."""
        if self.by_run:
            its = MetricSeries.objects.filter(run=OuterRef("pk"), name=name)
            return Q(Exists(its.filter(**{f"last_value__{lookup}": value})))
        series = MetricSeries.objects.filter(project=self.project, name=name, run__isnull=False)
        return Q(pk__in=series.filter(**{f"last_value__{lookup}": value}).values("run"))

    def _experiment(self, lookup: str, value: str) -> Q:
        """Of MLflow's clients, and of runs that were imported."""
        if lookup not in ("exact", "icontains"):
            raise _wrong("experiment is compared by =, != or contains.")
        logged = ExperimentRun.objects.filter(
            run__project=self.project, **{f"experiment__name__{lookup}": value}
        )
        imported = ImportedRun.objects.filter(
            project=self.project, **{f"about__experiment__{lookup}": value}
        )
        return Q(pk__in=logged.values("run")) | Q(pk__in=imported.values("run"))

    def _config(self, field: str, path: list[str], lookup: str, value: Any) -> Q:
        if path[0] not in KNOWN or not all(SEGMENT.fullmatch(part) for part in path):
            raise _wrong(f"There is no {field} in a run configuration.")
        if path[0] == "losses" and len(path) == 3:
            wanted = Q(pk__in=[])
            for place in range(MOST_LOSSES):
                term = KeyTransform(str(place), KeyTransform("losses", "config"))
                wanted |= self._on(KeyTransform("kind", term), "exact", path[1]) & self._on(
                    KeyTransform(path[2], term), lookup, value
                )
            return wanted
        found: Any = "config"
        for part in path:
            found = KeyTransform(part, found)
        return self._on(found, lookup, value)

    def _on(self, what: Any, lookup: str, value: Any) -> Q:
        name = f"asked_{len(self.runs.query.annotations)}"
        self.runs = self.runs.alias(**{name: what})
        return Q(**{f"{name}__{lookup}": value})

    def _take(self, word: str) -> bool:
        if self.place < len(self.tokens):
            kind, text = self.tokens[self.place]
            if kind != "text" and text.lower() == word:
                self.place += 1
                return True
        return False

    def _next(self, wanted: str) -> str:
        if self.place >= len(self.tokens):
            raise _wrong(f"It ends where {wanted} should be.")
        kind, text = self.tokens[self.place]
        if kind == "bracket":
            raise _wrong(f"There is a {text} where {wanted} should be.")
        self.place += 1
        return text


def _value(word: str) -> Any:
    named = {"true": True, "false": False, "null": None}
    if word.lower() in named:
        return named[word.lower()]
    try:
        return int(word) if re.fullmatch(r"-?\d{1,15}", word, re.ASCII) else float(word)
    except ValueError:
        return word


def _number(field: str, value: Any) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise _wrong(f"{field} is compared with a number.")
    return value


def _wrong(sentence: str) -> Invalid:
    return Invalid(f"filter: {sentence}", fields={"filter": [sentence]})
