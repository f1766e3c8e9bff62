"""A row by itself, and what is changed of rows until it becomes the next version."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST
from rest_framework.serializers import ValidationError

from distillhub.lib.errors import DomainError, Invalid
from projects import permissions
from projects.ingest.formats import SPLITS, TOKENS_TASK, UNLABELLED
from projects.models import DatasetVersion, Project, Role
from projects.operation_forms import refusal
from projects.operations import conditions
from projects.permissions import person
from projects.services import datasets, operations, pending, version_rows
from projects.views import dataset_rows

get_or_post = require_http_methods(["GET", "HEAD", "POST"])


@get_or_post
def dataset_row(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int, row_id: int
) -> HttpResponse:
    """One row; POST keeps what is to be changed of it."""
    least = Role.EDITOR if request.method == "POST" else Role.VIEWER
    project = permissions.project_for(request.user, project_slug, at_least=least)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    row = version_rows.row(version=version, row_id=row_id)
    asked = dataset_rows.Asked(version, request.GET)
    sort = asked.sort or None
    refused = ""
    try:
        before, after, place, count = version_rows.beside(
            version=version,
            row_id=row_id,
            conditions=asked.conditions(),
            sort=sort,
            like=asked.likeness,
        )
    except DomainError as error:
        before, after, place, count, refused = None, None, 0, 0, error.detail
    address = asked.address()
    here = _row_url(project, version, row_id, address)
    if request.method == "POST":
        try:
            change = _change_of(request.POST, row)
            whole = {"row_id": row_id, **change}
            if change:
                pending.add(version=version, changes=[whole], by=person(request))
            else:
                pending.restore(version=version, row_id=row_id, by=person(request))
        except (DomainError, ValidationError) as error:
            refused = refusal(error).detail
        else:
            on = after if "next" in request.POST and after is not None else row_id
            return redirect(_row_url(project, version, on, address))
    kept = pending.of(version=version, by=person(request))
    beside = [one["name"] for one in version.columns if one["type"] != version.input_column]
    own = {"row_id", "split", "label", "text", "prompt", version.input_column}
    row = dataset_rows.shown(version, [row])[0]
    change = kept.by_row().get(row_id, {})
    context = {
        "project": project,
        "section": "datasets",
        "title": f"Row {row_id} of {version.reference}",
        "crumb": f"Row {row_id}",
        "crumbs": [
            ("Datasets", reverse("projects:dataset_list", args=[project.slug])),
            (version.reference, dataset_rows.rows_url(project, version, asked.address(tab="rows"))),
        ],
        "dataset": version.dataset,
        "version": version,
        "row": row,
        "columns": [
            (name, dataset_rows.written(row.get(name))) for name in beside if name not in own
        ],
        "issues": [
            one for one in version.issues if row_id in (version.rows_of_issue(one["code"]) or ())
        ],
        "better": version.better_labels.get(row_id, ""),
        "change": change,
        "pending": kept,
        "refused": refused,
        "before": _row_url(project, version, before, address) if before is not None else "",
        "after": _row_url(project, version, after, address) if after is not None else "",
        "here": here,
        "place": place,
        "count": count,
        "filtered": bool(asked.raw or asked.sort or asked.is_likened),
        "back": dataset_rows.rows_url(project, version, asked.address(tab="rows")),
        "by_word": version.dataset.task == TOKENS_TASK,
        "unlabelled": version.dataset.task in UNLABELLED,
        "selectable": dataset_rows.selectable(version),
        "tags": ", ".join(_tags_then(row, change)),
        "splits": SPLITS,
        "new_split": change.get("split", row["split"]),
    }
    status = 400 if request.method == "POST" else 200
    return render(request, "projects/dataset_row.html", context, status=status)


@get_or_post
def dataset_edits(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    """The changes that are no version yet, and what comes of them. POST adds one of many rows."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    if request.method == "POST":
        return _add(request, project, version)
    kept = pending.of(version=version, by=person(request))
    refused, tried = "", None
    if kept.changes:
        try:
            tried = operations.tried(
                version=version, operation="edit", options={"changes": kept.changes}
            )
        except (DomainError, ValidationError) as error:
            refused = refusal(error).detail
    context = {
        "project": project,
        "section": "datasets",
        "title": f"Changes of {version.reference}",
        "crumb": "Changes",
        "crumbs": [
            ("Datasets", reverse("projects:dataset_list", args=[project.slug])),
            (
                version.reference,
                reverse(
                    "projects:dataset_version",
                    args=[project.slug, version.dataset.name, version.number],
                ),
            ),
        ],
        "dataset": version.dataset,
        "version": version,
        "pending": kept,
        "lines": list(enumerate(kept.lines()))[: pending.MOST_SHOWN],
        "tried": tried,
        "refused": refused,
        "following": f"{version.dataset.name}@{version.dataset.next_number()}",
    }
    return render(request, "projects/dataset_edits.html", context)


@require_POST
def dataset_edits_apply(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    """The next version of what was changed; the changes are then no longer pending."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    try:
        made = pending.apply(version=version, by=person(request))
    except (DomainError, ValidationError) as error:
        messages.error(request, refusal(error).detail)
        return redirect("projects:dataset_edits", project.slug, dataset_name, number)
    messages.success(request, f"{made.reference} is being made. {version.reference} stays.")
    return redirect("projects:dataset_version", project.slug, dataset_name, made.number)


@require_POST
def dataset_edits_discard(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    """Forget one change, by its place, or all of them."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    text = request.POST.get("place", "")
    place = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
    if text and place is None:
        raise Invalid("There is no such change.")
    pending.discard(version=version, by=person(request), place=place)
    if place is not None:
        return redirect("projects:dataset_edits", project.slug, dataset_name, number)
    messages.success(request, "The changes are discarded.")
    return redirect("projects:dataset_version", project.slug, dataset_name, number)


def _add(request: HttpRequest, project: Project, version: DatasetVersion) -> HttpResponse:
    among = request.POST.get("among", "")[: dataset_rows.MOST_ADDRESS]
    back = dataset_rows.rows_url(project, version, QueryDict(among))
    what, value = request.POST.get("what", ""), request.POST.get("value", "").strip()
    try:
        change = bulk_change(what, value)
        asked = dataset_rows.Asked(version, QueryDict(among))
        if "every" in request.POST:
            change["where"] = asked.conditions()
        else:
            # A map sends all that are chosen in one field: a form has two thousand at most.
            listed = [one for text in request.POST.getlist("row_id") for one in text.split(",")]
            ids = [one for one in listed if one.isascii() and one.isdigit() and len(one) < 16]
            if not ids:
                raise Invalid("Choose rows first, or all that match.")
            change["row_ids"] = [int(one) for one in ids[: conditions.MOST_ROW_IDS]]
        pending.add(version=version, changes=[change], by=person(request))
    except (DomainError, ValidationError) as error:
        messages.error(request, refusal(error).detail)
    else:
        messages.success(request, "Kept. It becomes a version when you make one of your changes.")
    return redirect(back)


def bulk_change(what: str, value: str) -> dict[str, Any]:
    """Raises Invalid."""
    if what not in dataset_rows.ACTIONS:
        raise Invalid("Say what is to be done with these rows.")
    if what == "leave_out":
        return {"leave_out": True}
    if what in {"tag", "untag"}:
        return {"tags" if what == "tag" else "untag": pending.split_tags(value)}
    return {what: value}


def _change_of(posted: QueryDict, row: dict[str, Any]) -> dict[str, Any]:
    """What a form says otherwise than the row; empty when that is nothing."""
    change: dict[str, Any] = {}
    if "leave_out" in posted:
        return {"leave_out": True}
    said = {name: str(posted.get(name, "")) for name in ("label", "split", "text", "tags")}
    if "label" in posted and said["label"].strip() != (row.get("label") or ""):
        change["label"] = said["label"].strip()
    if "split" in posted and said["split"] != row["split"]:
        change["split"] = said["split"]
    text = said["text"].replace("\r\n", "\n")  # browsers end lines with CR and LF
    if "text" in posted and text != str(row.get("text") or "").replace("\r\n", "\n"):
        change["text"] = text
    if "tags" in posted:
        now, were = pending.split_tags(said["tags"], few=0), pending.tags_of(row)
        if added := [one for one in now if one not in were]:
            change["tags"] = added
        if taken := [one for one in were if one not in now]:
            change["untag"] = taken
    return change


def _tags_then(row: dict[str, Any], change: dict[str, Any]) -> list[str]:
    """The row's tags as they are to be."""
    gone = change.get("untag", ())
    kept = [one for one in pending.tags_of(row) if one not in gone]
    return list(dict.fromkeys([*kept, *change.get("tags", ())]))


def _row_url(project: Project, version: DatasetVersion, row_id: int, address: QueryDict) -> str:
    parts = [project.slug, version.dataset.name, version.number, row_id]
    query = address.urlencode()
    return reverse("projects:dataset_row", args=parts) + (f"?{query}" if query else "")
