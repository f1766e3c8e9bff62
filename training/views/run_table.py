"""The table of runs: what its address asks for, and the rows that answer it."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, Exists, F, OrderBy, OuterRef
from django.http import QueryDict
from django.utils import timezone

from distillhub.lib.errors import Invalid
from distillhub.templatetags import ui
from projects.models import Project
from training.charts import curves, run_colours
from training.models import MetricChunk, Run
from training.models.metric import Points
from training.services import queue, run_fields, run_search, scores
from training.views import run_charts, run_columns, run_groups, run_page

PAGE = 50
MOST_PARAMETERS = 4  # columns for what differs; the rest is counted

#: Groups of statuses that a person filters by; any single status works as well.
GROUPS: dict[str, list[str]] = {
    "active": [str(status) for status in Run.Status if status not in Run.FINAL],
    "finished": ["finished"],
    "failed": ["failed"],
    "cancelled": ["cancelled"],
}


#: What is read of a run, and names of other rows that are joined in.
SHOWN = (
    "project", "number", "name", "status", "origin", "tags", "fraction", "config", "summary",
    "metrics", "comparison", "task", "queue", "control_of", "started_at",
    "finished_at", "created_at", "colour", "archived_at", "created_by__username",
    "created_by__first_name", "created_by__last_name", "dataset_version__number",
    "dataset_version__reading", "dataset_version__dataset__name",
)  # fmt: skip
JOINED = {
    "student_name": F("student__model__name"),
    "student_number": F("student__number"),
    "controlled": F("control_of__number"),
    "study_name": F("study__name"),
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
    look: Any = None  # of charts/run_colours.py
    is_best: set[str] = field(default_factory=set)
    fields: list[Any] = field(default_factory=list)  # as the table's `fields` name them
    told: list[tuple[str, str]] = field(default_factory=list)  # these, and how far apart
    is_pinned: bool = False
    apart: dict[str, str] = field(default_factory=dict)  # to the pinned run, by column
    group: run_groups.Group | None = None  # that begins here


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
    filter: str
    refused: str  # what is wrong with the filter
    show: list[str]  # of run_columns.BUILT
    fields: list[tuple[str, str]]  # further columns, and what they are called
    choices: list[tuple[str, str]]  # fields that could be shown
    group: str
    settings: list[tuple[str, str]]  # fields to group by
    pin: int | None
    archived: str  # of run_search.ARCHIVED, or empty

    @property
    def test_label(self) -> str:
        return f"Test {ui.measure(self.metric)}" if self.metric else "Test"

    @property
    def kept(self) -> list[str]:
        """What stands in the address for the columns; nothing for the usual ones."""
        usual = self.show == list(run_columns.BUILT)
        return [*([] if usual else self.show), *self.field_names]

    @property
    def field_names(self) -> list[str]:
        return [name for name, _ in self.fields]

    @property
    def built(self) -> list[tuple[str, str]]:
        return list(run_columns.BUILT.items())

    @property
    def groupings(self) -> list[tuple[str, str]]:
        """By what runs are grouped: what every run has, and settings on which the listed differ."""
        return [*run_columns.GROUPS.items(), *self.settings]

    @property
    def group_said(self) -> str:
        return run_columns.GROUPS.get(self.group) or run_columns.said(self.group).capitalize()

    @property
    def width(self) -> int:
        """Columns at most; a cell that spans all may span more."""
        return 6 + len(self.show) + len(self.fields) + len(self.parameters)

    @property
    def is_filtered(self) -> bool:
        return bool(self.status or self.tag or self.q or self.filter or self.archived)


def table(*, project: Project, asked: QueryDict) -> Table:
    """Raises Invalid for a status, an order or a group that does not exist. Ten queries, and one
    more each for what is pinned and for groups."""
    status, tag, q = asked.get("status", ""), asked.get("tag", ""), asked.get("q", "").strip()
    order, grouped = asked.get("order", "-number"), asked.get("group", "")
    expression, archived = asked.get("filter", "").strip(), asked.get("archived", "")
    counted = dict(
        run_search.listed(project.runs.all(), archived)
        .order_by()
        .values_list("status")
        .annotate(Count("pk"))  # over all, not the page
    )
    wanted = ",".join(GROUPS.get(status, [status]))
    refused = ""
    try:
        runs = run_search.search(
            project=project, status=wanted, tag=tag, q=q, filter=expression, archived=archived
        )
    except Invalid as error:
        if "filter" not in error.fields:
            raise
        runs, refused = Run.objects.none(), error.fields["filter"][0]
    by = [*run_columns.orders(order, project), OrderBy(F("number"), descending=True)]
    groups: dict[str, run_groups.Group] = {}
    if grouped:
        runs = runs.annotate(grouped=run_columns.group(grouped))
        by.insert(0, OrderBy(F("grouped"), nulls_last=True))
        groups = run_groups.found(runs, project)
    # Found and sorted by their ids alone; only what is on the page is read.
    found = runs.order_by(*by).values_list("pk", flat=True)
    paginator = Paginator(found, PAGE)
    if not (q or tag or expression):  # counted already
        statuses = run_search.statuses(wanted) if wanted else counted
        paginator.count = sum(counted.get(one, 0) for one in set(statuses))
    page = paginator.get_page(asked.get("page"))
    pks = list(page.object_list)
    pinned = _pinned(project, asked.get("pin", ""))
    whole = _read(pks if pinned is None else [*pks, pinned])
    listed = [pk for pk in pks if pk != pinned]
    every = _rows([whole[pk] for pk in ([pinned, *listed] if pinned else listed) if pk in whole])
    first = [row for row in every if row.run.pk == pinned]
    rows = every[len(first) :]
    names = run_columns.differing([row.run.config for row in rows if row.run.control_of_id is None])
    shown = names[:MOST_PARAMETERS]
    show, fields = run_columns.chosen(asked.getlist("show"))
    if groups:
        run_groups.begin(rows, grouped, groups)
    looks = run_colours.of({row.run.number: row.run.colour for row in every})
    for row in every:
        row.look = looks[row.run.number]
        values = run_columns.flat(row.run.config)
        row.parameters = [values.get(name) for name in shown]
        row.fields = [run_fields.value_of(row.run, name) for name in fields]
        row.told = [
            (run_columns.written(*pair), "") for pair in zip(fields, row.fields, strict=True)
        ]
        row.is_pinned = bool(first) and row is first[0]
    for row in rows if first else []:
        row.apart = _apart(row, first[0], fields)
        row.told = run_columns.told(fields, row.fields, row.apart)
    return Table(
        rows=every,
        page=page,
        parameters=run_columns.short(shown),
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
        filter=expression,
        refused=refused,
        show=show,
        fields=[(name, run_columns.said(name)) for name in fields],
        choices=run_columns.offered(row.run for row in rows),
        group=grouped,
        settings=run_columns.settings([row.run.config for row in rows]),
        pin=first[0].run.number if first else None,
        archived=archived,
    )


def _pinned(project: Project, asked: str) -> int | None:
    """The id of the run that the others are told against."""
    if not (asked.isascii() and asked.isdigit() and len(asked) < 10):
        return None
    return project.runs.filter(number=int(asked)).values_list("pk", flat=True).first()


def _apart(row: Row, pinned: Row, fields: list[str]) -> dict[str, str]:
    """How far a row is from the pinned one, by column."""
    found = {}
    if row.metric == pinned.metric:
        for name in ("score", "validation"):
            found[name] = run_columns.apart(row.metric, getattr(row, name), getattr(pinned, name))
    found["agreement"] = run_columns.apart("agreement", row.agreement, pinned.agreement)
    for name, value, base in zip(fields, row.fields, pinned.fields, strict=True):
        found[name] = run_columns.apart(name, value, base)
    return {name: said for name, said in found.items() if said}


def _read(pks: list[int]) -> dict[int, Any]:
    """What a row shows of each run, and no more: whole rows of runs, data and models are some
    kilobytes each. One query."""
    controls = Run.objects.unfinished().filter(control_of=OuterRef("pk"))
    return (
        Run.objects.annotate(**JOINED, is_awaiting_control=Exists(controls))
        .select_related("created_by", "dataset_version__dataset")
        .only(*SHOWN)
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
