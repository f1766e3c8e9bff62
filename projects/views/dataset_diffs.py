"""Two versions side by side: which rows were added, removed and changed."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from distillhub.lib.errors import DomainError
from distillhub.templatetags import ui
from projects import permissions
from projects.models import Dataset, DatasetVersion
from projects.services import datasets, diffs

PAGE_ROWS = 25
OFFERED = 100  # versions to choose from
MOST_SHOWN = 20  # labels, and pairs of labels
SHOWN = 400  # characters of a value
WORDS = {"added": "Added", "removed": "Removed", "changed": "Changed"}


@require_safe
def dataset_diff(request: HttpRequest, project_slug: str, dataset_name: str) -> HttpResponse:
    """`?from=1&to=3`: the newest two, unless told; `from` may be of another dataset, `other@2`."""
    project = permissions.project_for(request.user, project_slug)
    dataset = datasets.get(project=project, name=dataset_name)
    ready = dataset.versions.ready().select_related("created_by").order_by("-number")[:OFFERED]
    offered = list(ready)
    asked_from, asked_to = _asked(request, offered)
    parts = [project.slug, dataset.name]
    context: dict[str, Any] = {
        "project": project,
        "section": "datasets",
        "title": f"Compare versions of {dataset.name}",
        "crumb": "Compare",
        "crumbs": [
            ("Datasets", reverse("projects:dataset_list", args=[project.slug])),
            (dataset.name, reverse("projects:dataset_detail", args=parts)),
        ],
        "dataset": dataset,
        "offered": offered,
        "asked_from": asked_from,
        "asked_to": asked_to,
    }
    try:
        old = diffs.version_meant(project=project, name=dataset.name, said=asked_from)
        new = diffs.version_meant(project=project, name=dataset.name, said=asked_to)
        found = diffs.between(old=old, new=new)
    except DomainError as error:
        context["refused"] = error.detail
    else:
        context |= _told(request, dataset, found)
    return render(request, "projects/dataset_diff.html", context)


def _asked(request: HttpRequest, offered: list[DatasetVersion]) -> tuple[str, str]:
    newest = offered[0] if offered else None
    to = request.GET.get("to", "").strip()[:140] or (str(newest.number) if newest else "")
    given = request.GET.get("from", "").strip()[:140]
    if given:
        return given, to
    base = next((one for one in offered if str(one.number) == to), None)
    before = next((one for one in offered if base and one.pk == base.parent_id), None)
    before = before or next((one for one in offered if base and one.number < base.number), base)
    return (str(before.number) if before else ""), to


def _told(request: HttpRequest, dataset: Dataset, found: diffs.Diff) -> dict[str, Any]:
    told = found.told
    kind = request.GET.get("kind", "")
    if kind not in diffs.KINDS:
        kind = next((one for one in diffs.KINDS if told[one]), "added")
    page = Paginator(range(told[kind]), PAGE_ROWS).get_page(request.GET.get("page"))
    start = (page.number - 1) * PAGE_ROWS
    rows = found.rows(kind, offset=start, limit=PAGE_ROWS)
    query = request.GET.copy()
    for name in ("page", "kind"):
        query.pop(name, None)
    before = query.urlencode()
    address = f"?{before}&kind=" if before else "?kind="
    version = found.old if kind == "removed" else found.new
    return {
        "found": found,
        "told": told,
        "kind": kind,
        "tabs": [
            (one, WORDS[one], f"{address}{one}", ui.grouped(told[one])) for one in diffs.KINDS
        ],
        "page": page,
        "rows": [_shown(row, version, kind) for row in rows],
        "kinds": [
            (
                one,
                WORDS[one],
                told[one],
                told["splits"][one].items(),
                list(told["labels"][one].items())[:MOST_SHOWN],
                max(0, len(told["labels"][one]) - MOST_SHOWN),
            )
            for one in diffs.KINDS
            if told[one]
        ],
        "relabelled": told["relabelled"][:MOST_SHOWN],
        "other": found.old.dataset if found.old.dataset_id != dataset.pk else None,
    }


def _shown(row: dict[str, Any], version: DatasetVersion, kind: str) -> dict[str, Any]:
    """A row as a line: its number, split, label, what it says, and what changed."""
    inner = row["row"] if kind == "changed" else row
    if version.input_column == "text":
        said = " ⏎ ".join(str(inner[one]) for one in ("prompt", "text") if inner.get(one))
    elif version.features:
        values = [inner.get(one) for one in version.features]
        said = " · ".join("–" if one is None else str(one) for one in values)
    else:
        said = inner["source"]
    return {
        "row_id": inner["row_id"],
        "was": row.get("from_row"),
        "split": inner["split"],
        "label": inner["label"],
        "said": said[:2000],
        "changes": [
            (name, _cut(before), _cut(after))
            for name, (before, after) in row.get("changes", {}).items()
        ],
        "media": version.input_column in diffs.MEDIA,
    }


def _cut(value: Any) -> Any:
    return f"{value[:SHOWN]}…" if isinstance(value, str) and len(value) > SHOWN else value
