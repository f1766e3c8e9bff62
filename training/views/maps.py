"""The tab Map of a dataset version, and the rows that are like one."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from distillhub.lib.errors import DomainError
from distillhub.lib.later import np
from projects import permissions
from projects.ingest import page as stored_rows
from projects.models import DatasetVersion, Project, Role
from projects.permissions import person
from projects.services import datasets, pending, version_rows
from projects.views import dataset_rows
from projects.views import datasets as dataset_pages
from training.charts import row_maps
from training.models import RowMap
from training.services import likeness, map_groups, maps

NEAREST = 6  # rows that a row's page shows


@require_http_methods(["GET", "HEAD", "POST"])
def dataset_map(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    """The tab, or what it polls while a worker is at a map; POST has one made."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    here = reverse("training:dataset_map", args=[project.slug, dataset_name, number])
    if request.method == "POST":
        try:
            made = maps.make(
                version=version,
                model=request.POST.get("model", ""),
                plane=request.POST.get("plane", "principal"),
                by=person(request),
            )
        except DomainError as error:
            messages.error(request, error.detail)
            return redirect(here)
        return redirect(f"{here}?map={made.pk}")
    if not version.is_ready:
        return redirect("projects:dataset_version", project.slug, dataset_name, number)
    every = list(maps.listed(version=version))
    chosen = _chosen(every, request.GET.get("map", ""))
    if request.headers.get("HX-Target") == "map-making":
        if chosen is not None and not chosen.is_final:
            return render(request, "training/_map_making.html", _making(project, version, chosen))
        return HttpResponse(headers={"HX-Refresh": "true"})
    context = dataset_pages.frame(project, version, "map") | {
        "here": here,
        "maps": every,
        "chosen": chosen,
        "planes": maps.PLANES,
        "days": settings.DISTILLHUB_MAP_DAYS,
        "models": maps.choices(version=version) if project.my_role != Role.VIEWER else [],
    }
    if chosen is not None and chosen.status == RowMap.Status.READY:
        context |= _drawn(request, project, version, chosen)
    return render(request, "training/dataset_map.html", context)


@require_POST
def dataset_map_remove(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int, map_id: int
) -> HttpResponse:
    """Forget a map, or stop making it."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    maps.remove(row_map=maps.find(version=version, map_id=map_id))
    messages.success(request, "The map is gone. It can be made again.")
    return redirect("training:dataset_map", project.slug, dataset_name, number)


@require_safe
def row_neighbours(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int, row_id: int
) -> HttpResponse:
    """The part of a row's page that shows the rows like it."""
    project = permissions.project_for(request.user, project_slug)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    if not request.headers.get("HX-Request"):
        return redirect("projects:dataset_row", project.slug, dataset_name, number, row_id)
    rows: list[dict[str, Any]] = []
    absent = ""
    try:
        found = likeness.nearest(version=version, row_id=row_id, count=NEAREST)
    except DomainError as error:
        absent = error.detail
    else:
        with datasets.open_file(version=version) as stream:
            ids = np.array([one for one, _ in found], dtype=np.int64)
            rows = stored_rows.these(stream, ids, without=("image", "audio"))
        for row, (_, score) in zip(rows, found, strict=True):
            row["similarity"] = score
    context = {
        "project": project,
        "dataset": version.dataset,
        "version": version,
        "row_id": row_id,
        "absent": absent,
        "neighbours": dataset_rows.shown(version, rows),
        "by_word": dataset_pages.is_by_word(version),
    }
    return render(request, "training/_row_neighbours.html", context)


def _chosen(every: list[RowMap], asked: str) -> RowMap | None:
    """The map that the address names, else the newest that is ready, else the newest."""
    named = next((one for one in every if str(one.pk) == asked), None)
    ready = next((one for one in every if one.status == RowMap.Status.READY), None)
    return named or ready or (every[0] if every else None)


def _making(project: Project, version: DatasetVersion, row_map: RowMap) -> dict[str, Any]:
    return {
        "project": project,
        "dataset": version.dataset,
        "version": version,
        "chosen": row_map,
    }


def _drawn(
    request: HttpRequest, project: Project, version: DatasetVersion, row_map: RowMap
) -> dict[str, Any]:
    """The picture, and the same in words."""
    choices = map_groups.choices(version=version)
    by = request.GET.get("by") or choices[0].key
    highlight = request.GET.get("first", "")[:200]
    asked = dataset_rows.Asked(version, request.GET)
    refused = ""
    try:
        matching = version_rows.matching(version=version, conditions=asked.conditions())
    except DomainError as error:
        matching, refused = np.arange(0), error.detail
    ids = map_groups.drawn(version=version, row_ids=matching)
    with datasets.open_file(version=version) as stream:
        rows = stored_rows.these(stream, ids, without=("image", "audio")) if len(ids) else []
    try:
        values = map_groups.values(version=version, by=by, rows=rows)
    except DomainError:
        by = choices[0].key
        values = map_groups.values(version=version, by=by, rows=rows)
    groups = map_groups.grouped(values, first=highlight)
    places = maps.points(row_map=row_map)[ids] if len(ids) else np.zeros((0, 2))
    clouds = [
        row_maps.Cloud(
            group.name,
            places[group.places, 0].tolist(),
            places[group.places, 1].tolist(),
            ids[group.places].tolist(),
            [_told(version, rows[place]) for place in group.places],
            group.quiet,
            group.name if by.startswith("error:") else "",
        )
        for group in groups
    ]
    report = row_map.report or {}
    return {
        "figure": row_maps.scatter(clouds) if clouds else None,
        "by": by,
        "by_words": next(one.words for one in choices if one.key == by),
        "choices": choices,
        "highlight": highlight,
        "highlightable": version.labels if by == "label" else [],
        "drawn": len(ids),
        "matching": len(matching),
        "filtered": bool(asked.raw),
        "among": asked.address().urlencode(),
        "conditions": list(asked.address().lists()),
        "refused": refused,
        "lines": [_line(group, places, rows, version) for group in groups],
        "shares": report.get("shares") if row_map.plane == "principal" else None,
        "made_of": report.get("made_by", ""),
        "actions": dataset_rows.ACTIONS,
        "pending": pending.of(version=version, by=person(request)),
        "row_url": reverse(
            "projects:dataset_row", args=[project.slug, version.dataset.name, version.number, 0]
        ),
    }


def _line(
    group: map_groups.Group,
    places: np.ndarray[Any, Any],
    rows: list[dict[str, Any]],
    version: DatasetVersion,
) -> dict[str, Any]:
    """A group in words: how many points it has, and the row in its middle."""
    here = places[group.places]
    middle = np.median(here, axis=0)
    nearest = int(np.square(here - middle).sum(axis=1).argmin())
    row = rows[group.places[nearest]]
    return {
        "name": group.name,
        "rows": len(group.places),
        "share": len(group.places) / max(1, len(places)),
        "typical": row["row_id"],
        "told": _told(version, row),
    }


def _told(version: DatasetVersion, row: dict[str, Any]) -> str:
    """A row in a few words."""
    if version.input_column == "text":
        words = str(row.get("prompt") or row.get("text") or "")
        return " ".join(words[:300].split())
    if version.input_column:
        label = row["label"] if row["label"] is not None else "no label"
        return f"{label} · {row['source'] or ''}"
    named = [f"{name} {dataset_rows.written(row[name])}" for name in list(version.features)[:4]]
    return ", ".join(named)
