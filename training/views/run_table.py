"""The table of runs: what its address asks for, and the rows that answer it."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, Exists, F, OrderBy, OuterRef, Prefetch
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Coalesce, Now
from django.http import QueryDict
from django.utils import timezone

from distillhub.lib.errors import Invalid
from distillhub.templatetags import ui
from projects.models import DatasetVersion, Project
from training import catalog
from training.charts import curves
from training.models import MetricChunk, Run
from training.models.metric import Points
from training.services import queue, run_filters, run_search, scores
from training.services.run_filters import Seconds
from training.views import run_charts, run_page

PAGE = 50
MOST_PARAMETERS = 4  # columns for what differs; the rest is counted

#: Groups of statuses that a person filters by; any single status works as well.
GROUPS: dict[str, list[str]] = {
    "active": [str(status) for status in Run.Status if status not in Run.FINAL],
    "finished": ["finished"],
    "failed": ["failed"],
    "cancelled": ["cancelled"],
}


#: Columns that a person sorts by; besides them a run's score, on which split.
SCORES = {"score": "test", "validation": "val"} | {"accuracy": "test"}  # its name of old
ORDERS: dict[str, Any] = {
    "number": F("number"),
    "name": F("name"),
    "status": F("status"),
    "agreement": run_filters.metric("val/agreement"),
    "loss": run_filters.metric("train/loss"),
    "student": F("student__model__name"),
    "dataset": F("dataset_version__dataset__name"),
    "duration": Seconds(Coalesce(F("finished_at"), Now())) - Seconds(F("started_at")),
    "by": F("created_by__username"),
    "created": F("created_at"),
}

#: Parts of a configuration that have columns of their own, or say nothing of the training.
ELSEWHERE = {"name", "task", "dataset", "student", "teachers", "control", "resources", "exports"}


#: What is read of a run, and names of other rows that are joined in.
SHOWN = (
    "project", "number", "name", "status", "origin", "tags", "fraction", "config", "summary",
    "metrics", "comparison", "task", "queue", "dataset_version", "control_of", "started_at",
    "finished_at", "created_at", "created_by__username", "created_by__first_name",
    "created_by__last_name",
)  # fmt: skip
JOINED = {
    "student_name": F("student__model__name"),
    "student_number": F("student__number"),
    "controlled": F("control_of__number"),
}


@dataclass(slots=True)
class Row:
    run: Any  # a Run with what JOINED adds
    metric: str  # that score and validation are of
    score: float | None
    validation: float | None
    agreement: float | None
    loss: float | str | None
    verdict: dict[str, Any] | None
    spark: str
    elapsed: timedelta | None
    student: str  # empty: not there yet
    teachers: list[str]
    place: int | None  # in its queue
    parameters: list[Any] = field(default_factory=list)
    is_best: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Table:
    rows: list[Row]
    page: Page[int]
    parameters: list[str]
    more_parameters: int
    order: str
    status: str
    tag: str
    q: str
    counts: list[tuple[str, str, int]]
    is_live: bool
    metric: str  # of all rows, where they have one in common
    with_loss: bool  # one objective, so that losses compare

    @property
    def test_label(self) -> str:
        return f"Test {ui.measure(self.metric)}" if self.metric else "Test"

    @property
    def is_filtered(self) -> bool:
        return bool(self.status or self.tag or self.q)


def table(*, project: Project, asked: QueryDict) -> Table:
    """Raises Invalid for a status or an order that does not exist. Ten queries at most."""
    status, tag, q = asked.get("status", ""), asked.get("tag", ""), asked.get("q", "").strip()
    order = asked.get("order", "-number")
    counted = dict(
        project.runs.order_by()
        .values_list("status")
        .annotate(Count("pk"))  # over all, not the page
    )
    wanted = ",".join(GROUPS.get(status, [status]))
    runs = run_search.search(project=project, status=wanted, tag=tag, q=q)
    # Found and sorted by their ids alone; only what is on the page is read.
    found = runs.order_by(*_orders(order, project), "-number").values_list("pk", flat=True)
    paginator = Paginator(found, PAGE)
    if not (q or tag):  # counted already
        statuses = run_search.statuses(wanted) if wanted else counted
        paginator.count = sum(counted.get(one, 0) for one in set(statuses))
    page = paginator.get_page(asked.get("page"))
    pks = list(page.object_list)
    whole = _read(pks)
    rows = _rows([whole[pk] for pk in pks if pk in whole])
    names = _differing([row.run.config for row in rows if row.run.control_of_id is None])
    shown = names[:MOST_PARAMETERS]
    for row in rows:
        values = flat(row.run.config)
        row.parameters = [values.get(name) for name in shown]
    return Table(
        rows=rows,
        page=page,
        parameters=_short(shown),
        more_parameters=len(names) - len(shown),
        order=order,
        status=status,
        tag=tag,
        q=q,
        counts=[("", "All", sum(counted.values()))]
        + [
            (group, group.capitalize(), sum(counted.get(one, 0) for one in statuses))
            for group, statuses in GROUPS.items()
        ],
        is_live=any(not row.run.is_final for row in rows),
        metric=_common([row.metric for row in rows]),
        with_loss=len({_objective(row.run) for row in rows}) == 1,
    )


def flat(config: dict[str, Any], at: str = "") -> dict[str, Any]:
    """What was chosen, by short names: `learning_rate`, `soft_targets.temperature`; of a stage
    behind its name."""
    flattened: dict[str, Any] = {}
    for key, value in config.items():
        if key in ELSEWHERE or (key == "losses" and config.get("stages")):
            continue
        if key == "losses":
            for loss in value:
                kind = loss.get("kind", "?")
                own = {name: one for name, one in loss.items() if name != "kind"}
                flattened |= {f"{at}{kind}.{name}": one for name, one in own.items()}
        elif key == "stages":
            for stage in value:
                at = f"{stage.get('name', '?')}."
                flattened |= {f"{at}{name}": one for name, one in stage.items() if _plain(one)}
                flattened |= flat({"losses": stage.get("losses", [])}, at)
        elif key == "scheme" and isinstance(value, dict):
            kept = {name: one for name, one in value.items() if name != "kind"}
            flattened |= {"scheme": value.get("kind")}
            flattened |= {f"scheme.{name}": one for name, one in kept.items()}
        elif key in ("training", "params"):
            flattened |= {name: one for name, one in value.items() if not isinstance(one, dict)}
        elif _plain(value):
            flattened[key] = value
    return flattened


def _plain(value: Any) -> bool:
    return not isinstance(value, dict | list)


def _orders(order: str, project: Project) -> list[OrderBy]:
    """Scores of one kind stay together: accuracy and perplexity do not compare."""
    name = order.removeprefix("-")
    if name not in SCORES:
        return [_order(order, ORDERS.get(name))]
    by = run_filters.headline(SCORES[name], project)
    return [OrderBy(F("task")), OrderBy(run_filters.problem(project)), _order(order, by)]


def _order(order: str, by: Any) -> OrderBy:
    name = order.removeprefix("-")
    kind, _, setting = name.partition(".")
    if kind == "training" and setting in catalog.training_defaults():
        by = KeyTransform(setting, KeyTransform("training", "config"))
    if by is None:
        raise Invalid(f"Runs cannot be ordered by {name!r}.", fields={"order": ["Unknown."]})
    return OrderBy(by, descending=order.startswith("-"), nulls_last=True)


def _read(pks: list[int]) -> dict[int, Any]:
    """What a row shows of each run, and no more: whole rows of runs, data and models are some
    kilobytes each. Two queries."""
    controls = Run.objects.unfinished().filter(control_of=OuterRef("pk"))
    data = DatasetVersion.objects.select_related("dataset")
    return (
        Run.objects.annotate(**JOINED, is_awaiting_control=Exists(controls))
        .select_related("created_by")
        .only(*SHOWN)
        .prefetch_related(
            Prefetch("dataset_version", data.only("number", "reading", "dataset__name"))
        )
        .in_bulk(pks)
    )


def _rows(runs: list[Any]) -> list[Row]:
    sparks = _sparks([(run, run_charts.headline(run)) for run in runs])
    queued = [run.pk for run in runs if run.status == Run.Status.QUEUED]
    places = queue.positions(queued) if queued else {}
    now = timezone.now()
    rows = []
    for run in runs:
        ended = run.finished_at or (None if run.is_final else now)
        measured = run.summary.get("student") or {}
        name = run_charts.headline(run)
        row = Row(
            run=run,
            metric=name,
            score=scores.number(run.metrics.get(f"test/{name}", measured.get(name))),
            validation=scores.of_validation(run, name),
            agreement=scores.number(run.summary.get("agreement", run.metrics.get("val/agreement"))),
            loss=run.metrics.get("train/loss"),
            verdict=_verdict(run),
            spark=sparks.get(run.pk, ""),
            elapsed=ended - run.started_at if run.started_at and ended else None,
            student=f"{run.student_name}@{run.student_number}" if run.student_number else "",
            teachers=[
                one if isinstance(one, str) else one["model"]
                for one in run.config.get("teachers", [])
            ],
            place=places.get(run.pk),
        )
        rows.append(row)
    _mark_best(rows)
    return rows


def _verdict(run: Any) -> dict[str, Any] | None:
    """Whether its teacher helped, in a word and in numbers; None where that is no question."""
    if run.control_of_id is not None or run.status != Run.Status.FINISHED:
        return None
    found = run_page.verdict(run)
    if found is None:
        waits = run.is_awaiting_control
        return {"word": "waits for its control", "title": ""} if waits else None
    difference, *edges = found.get("said") or ["unknown"]
    title = f"{difference} to the control"
    if edges:
        title += f", 95 % within {edges[0]} and {edges[1]}"
    return found | {"word": ui.words(found["answer"]), "title": title}


def _objective(run: Run) -> str:
    """What its loss is a sum of."""
    asked = [run.config.get(name) for name in ("scheme", "losses", "stages")]
    return json.dumps(asked, sort_keys=True)


def _common(names: list[str]) -> str:
    return names[0] if len(set(names)) == 1 else ""


def _mark_best(rows: list[Row]) -> None:
    """Among runs of one dataset version and task only: other scores do not compare. Validation rows
    choose; the test score that is marked is the one of the chosen run."""
    if len(rows) < 2 or len({row.run.dataset_version_id for row in rows}) != 1:
        return
    falls = ui.less_is_better(_common([row.metric for row in rows]))
    for name in ("validation", "agreement"):
        best = min if falls and name != "agreement" else max
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        for row in rows:
            if len(values) > 1 and getattr(row, name) == best(values):
                row.is_best |= {name, "score"} if name == "validation" else {name}


def _sparks(rows: list[tuple[Run, str]]) -> dict[int, str]:
    """The validation score of each run as a small line, from its newest chunk. One query."""
    wanted = {run.pk: f"val/{name}" for run, name in rows}
    tails = MetricChunk.objects.filter(
        series__run__in=list(wanted),
        series__name__in=set(wanted.values()),
        last_step=F("series__last_step"),
    ).select_related("series")
    sparks = {}
    for chunk in tails:
        run = chunk.series.run_id
        if run is not None and chunk.series.name == wanted[run]:
            points: Points = chunk.points
            sparks[run] = curves.spark({"values": points.values.tolist()})
    return sparks


def _differing(configs: list[dict[str, Any]]) -> list[str]:
    """Names of settings on which the listed runs differ. Of settings that differ in step, such as
    the two weights of a pair of losses, the first stands for all."""
    settings = [flat(config) for config in configs]
    kept: dict[tuple[int, ...], str] = {}
    for name in dict.fromkeys(name for one in settings for name in one):
        values = [json.dumps(one.get(name), sort_keys=True) for one in settings]
        pattern = tuple(values.index(value) for value in values)
        if any(pattern):
            kept.setdefault(pattern, name)
    return list(kept.values())


def _short(names: list[str]) -> list[str]:
    """`soft_targets.temperature` as `temperature` where no other column would be called that."""
    ends = [name.rsplit(".", 1)[-1] for name in names]
    return [
        end if ends.count(end) == 1 and end != "weight" else name.replace(".", " ")
        for name, end in zip(names, ends, strict=True)
    ]
