"""The table of runs: what its address asks for, and the rows that answer it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, OrderBy
from django.db.models.fields.json import KeyTransform
from django.db.models.functions import Coalesce, Now
from django.http import QueryDict
from django.utils import timezone

from distillhub.lib.errors import Invalid
from projects.models import ModelVersion, Project
from training import catalog
from training.charts import curves
from training.models import MetricChunk, Run
from training.models.metric import Points
from training.services import run_filters, run_search

PAGE = 50
MOST_PARAMETERS = 4  # columns for what differs; the rest is counted

#: Groups of statuses that a person filters by; any single status works as well.
GROUPS: dict[str, list[str]] = {
    "active": [str(status) for status in Run.Status if status not in Run.FINAL],
    "finished": ["finished"],
    "failed": ["failed"],
    "cancelled": ["cancelled"],
}


ORDERS: dict[str, Any] = {
    "number": F("number"),
    "name": F("name"),
    "status": F("status"),
    "accuracy": run_filters.metric("test/accuracy"),
    "validation": run_filters.metric("val/accuracy"),
    "agreement": run_filters.metric("val/agreement"),
    "loss": run_filters.metric("train/loss"),
    "student": F("student__model__name"),
    "dataset": F("dataset_version__dataset__name"),
    "duration": Coalesce(F("finished_at"), Now()) - F("started_at"),
    "by": F("created_by__username"),
    "created": F("created_at"),
}

#: Parts of a configuration that have columns of their own, or say nothing of the training.
ELSEWHERE = {"name", "task", "dataset", "student", "teachers", "control", "resources", "exports"}


@dataclass(slots=True)
class Row:
    run: Run
    accuracy: float | None
    validation: float | None
    agreement: float | None
    loss: float | str | None
    spark: str
    elapsed: timedelta | None
    teachers: Sequence[ModelVersion]
    parameters: list[Any] = field(default_factory=list)
    is_best: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Table:
    rows: list[Row]
    page: Page[Run]
    parameters: list[str]
    more_parameters: int
    order: str
    status: str
    tag: str
    q: str
    counts: list[tuple[str, str, int]]
    is_live: bool

    @property
    def is_filtered(self) -> bool:
        return bool(self.status or self.tag or self.q)


def table(*, project: Project, asked: QueryDict) -> Table:
    """Raises Invalid for a status or an order that does not exist. Nine queries at most."""
    status, tag, q = asked.get("status", ""), asked.get("tag", ""), asked.get("q", "").strip()
    order = asked.get("order", "-number")
    counted = dict(
        project.runs.order_by()
        .values_list("status")
        .annotate(Count("pk"))  # over all, not the page
    )
    runs = run_search.search(
        project=project, status=",".join(GROUPS.get(status, [status])), tag=tag, q=q
    )
    page = Paginator(runs.order_by(_order(order), "-number"), PAGE).get_page(asked.get("page"))
    rows = _rows(list(page.object_list))
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
    )


def flat(config: dict[str, Any]) -> dict[str, Any]:
    """What was chosen, by short names: `learning_rate`, `soft_targets.temperature`."""
    flattened: dict[str, Any] = {}
    for key, value in config.items():
        if key in ELSEWHERE:
            continue
        if key == "losses":
            for loss in value:
                kind = loss.get("kind", "?")
                flattened |= {f"{kind}.{name}": one for name, one in loss.items() if name != "kind"}
        elif key == "training":
            flattened |= {name: one for name, one in value.items() if not isinstance(one, dict)}
        elif not isinstance(value, dict | list):
            flattened[key] = value
    return flattened


def _order(order: str) -> OrderBy:
    name = order.removeprefix("-")
    by = ORDERS.get(name)
    kind, _, setting = name.partition(".")
    if kind == "training" and setting in catalog.training_defaults():
        by = KeyTransform(setting, KeyTransform("training", "config"))
    if by is None:
        raise Invalid(f"Runs cannot be ordered by {name!r}.", fields={"order": ["Unknown."]})
    return OrderBy(by, descending=order.startswith("-"), nulls_last=True)


def _rows(runs: list[Run]) -> list[Row]:
    sparks = _sparks(runs)
    now = timezone.now()
    rows = []
    for run in runs:
        ended = run.finished_at or (None if run.is_final else now)
        scores = run.summary.get("student") or {}
        row = Row(
            run=run,
            accuracy=_number(run.metrics.get("test/accuracy", scores.get("accuracy"))),
            validation=_best_validation(run),
            agreement=_number(run.summary.get("agreement", run.metrics.get("val/agreement"))),
            loss=run.metrics.get("train/loss"),
            spark=sparks.get(run.pk, ""),
            elapsed=ended - run.started_at if run.started_at and ended else None,
            teachers=list(run.teachers.all()),
        )
        rows.append(row)
    _mark_best(rows)
    return rows


def _best_validation(run: Run) -> float | None:
    """The best on validation where that is what was selected by, else the latest."""
    if run.summary.get("selection_metric") == "val/accuracy":
        return _number(run.summary.get("best_value"))
    return _number(run.metrics.get("val/accuracy"))


def _mark_best(rows: list[Row]) -> None:
    """Among runs of one dataset version and task only: other accuracies do not compare."""
    if len(rows) < 2 or len({row.run.dataset_version_id for row in rows}) != 1:
        return
    for name in ("accuracy", "validation", "agreement"):
        values = [value for row in rows if (value := getattr(row, name)) is not None]
        for row in rows:
            if len(values) > 1 and getattr(row, name) == max(values):
                row.is_best.add(name)


def _sparks(runs: list[Run]) -> dict[int, str]:
    """Validation accuracy of each run as a small line, from its newest chunk. One query."""
    tails = MetricChunk.objects.filter(
        series__run__in=[run.pk for run in runs],
        series__name="val/accuracy",
        last_step=F("series__last_step"),
    ).select_related("series")
    sparks = {}
    for chunk in tails:
        points: Points = chunk.points
        sparks[chunk.series.run_id] = curves.spark({"values": points.values.tolist()})
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


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
