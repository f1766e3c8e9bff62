"""The table of runs as a file: what its address asks for, on all its pages."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.views.decorators.http import require_safe

from distillhub.lib import downloads
from projects import permissions
from projects.ingest.written import escaped
from projects.models import Project
from training.models import Run
from training.services import compare, run_fields, run_search, scores
from training.views import run_columns, run_table

MOST = 10_000  # runs in a file
AT_ONCE = 500
FIRST = (
    *("number", "name", "status", "origin", "task", "dataset", "student", "teachers", "control_of"),
    *("study", "tags", "created_by", "created_at", "finished_at", "seconds", "metric", "test"),
    *("validation", "agreement", "retention", "parameters", "verdict", "difference"),
)


@require_safe
def run_csv(request: HttpRequest, project_slug: str) -> HttpResponseBase:
    """With `runs=1,2,3` those runs in this order, else those that the table finds. Chosen fields
    are columns; without any, every setting on which the runs differ."""
    project = permissions.project_for(request.user, project_slug)
    asked = request.GET
    if "runs" in asked:
        numbers = compare.numbers_in(asked.getlist("runs"))
        pks = [run.pk for run in compare.read(project=project, numbers=numbers)]
    else:
        pks = _found(project, asked)
    _, fields = run_columns.chosen(asked.getlist("show"))
    name = f"{project.slug}-runs.csv"
    pieces = _pieces(pks, fields or _differing(pks))
    return downloads.streamed(pieces, name=name, media_type="text/csv; charset=utf-8")


def _found(project: Project, asked: Any) -> list[int]:
    status = asked.get("status", "")
    runs = run_search.search(
        project=project,
        status=",".join(run_table.GROUPS.get(status, [status])),
        tag=asked.get("tag", ""),
        q=asked.get("q", "").strip(),
        filter=asked.get("filter", "").strip(),
        archived=asked.get("archived", ""),
    )
    by = run_columns.orders(asked.get("order", "-number"), project)
    return list(runs.order_by(*by, "-number").values_list("pk", flat=True)[:MOST])


def _differing(pks: Sequence[int]) -> list[str]:
    """Fields of the settings on which these runs differ, told without holding all of them."""
    seen: dict[str, set[Any]] = {}
    there: dict[str, int] = {}
    for start in range(0, len(pks), AT_ONCE):
        part = Run.objects.filter(pk__in=pks[start : start + AT_ONCE])
        for config in part.values_list("config", flat=True):
            for path, value in run_fields.settings(config).items():
                there[path] = there.get(path, 0) + 1
                values = seen.setdefault(path, set())
                if len(values) < 2:
                    values.add(run_fields.comparable(value))
    apart = [path for path in seen if len(seen[path]) > 1 or there[path] < len(pks)]
    return [run_fields.asked(path) for path in sorted(apart)]


def _pieces(pks: Sequence[int], fields: Sequence[str]) -> Iterator[bytes]:
    text = io.StringIO(newline="")
    out = csv.writer(text)
    out.writerow([*FIRST, *map(escaped, fields)])
    for start in range(0, max(1, len(pks)), AT_ONCE):
        part = list(pks[start : start + AT_ONCE])
        rows = (
            Run.objects.annotate(**compare.JOINED)
            .select_related("created_by", "dataset_version")
            .only(*compare.COLUMNS, "dataset_version__number", "dataset_version__reading")
            .in_bulk(part)
        )
        for run in (rows[pk] for pk in part if pk in rows):
            out.writerow(map(escaped, [*_first(run), *(_cell(run, name) for name in fields)]))
        yield text.getvalue().encode()
        text.seek(0)
        text.truncate()


def _first(run: Any) -> list[Any]:
    name = scores.headline(run)
    told = run.summary.get("student") or {}
    found = run.comparison or {}
    teachers = run.config.get("teachers", [])
    return [
        run.number,
        run.name,
        run.status,
        run.origin,
        run.task,
        compare.reference(run.dataset_name, run.dataset_number),
        compare.reference(run.student_name, run.student_number) or run.config.get("student"),
        ", ".join(one if isinstance(one, str) else one["model"] for one in teachers),
        run.controlled,
        run.study_number,
        ", ".join(run.tags),
        run.created_by.username,
        run.created_at.isoformat(),
        run.finished_at.isoformat() if run.finished_at else None,
        run_fields.seconds(run),
        name,
        run.metrics.get(f"test/{name}", told.get(name)),
        scores.of_validation(run, name),
        run.summary.get("agreement", run.metrics.get("val/agreement")),
        run.summary.get("retention"),
        told.get("parameters"),
        found.get("answer"),
        found.get("difference"),
    ]


def _cell(run: Any, name: str) -> Any:
    value = run_fields.value_of(run, name)
    if isinstance(value, list | dict):
        return ", ".join(map(str, value))
    return value
