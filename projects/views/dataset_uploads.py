"""Bringing data: files, then the mapping that was understood, then a version."""

from collections import Counter
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from distillhub.lib import downloads
from distillhub.lib import forms as form_errors
from distillhub.lib.errors import DomainError, Missing
from distillhub.templatetags import ui
from projects import permissions
from projects.dataset_forms import FilesForm, HubForm, MappingForm, reading_from, suggested_name
from projects.ingest import compressed, encodings, splits
from projects.ingest import reading as readings
from projects.ingest import registry as formats
from projects.ingest.formats import (
    CATEGORICAL,
    MULTI,
    NUMERIC,
    REGRESSION,
    SINGLE,
    SPLITS,
    TABLE_TASK,
    TEST,
    TOKENS_TASK,
    TRAIN,
    UNLABELLED,
    VALIDATION,
    Format,
)
from projects.ingest.layouts import LAYOUTS
from projects.ingest.media_table import MediaTable
from projects.ingest.plain_text import PlainText
from projects.ingest.record_format import RecordFormat
from projects.models import Dataset, DatasetVersion, Project, Role, StagedUpload
from projects.permissions import person
from projects.services import datasets, hub_datasets, operations, resumable

get_or_post = require_http_methods(["GET", "HEAD", "POST"])

SHOWN_LABELS = 40
ROLES = {
    "text": "Input text",
    "image": "Picture",
    "audio": "Sound",
    "prompt": "Prompt",
    "rationale": "Rationale",
    "label": "Label",
    "split": "Split",
    "id": "Id of a row",
    "group": "Group, kept in one split",
    "weight": "Weight of a row",
}
WORD_ROLES = ROLES | {"text": "Words", "label": "Tags"}
KINDS = {
    SINGLE: "one of several classes",
    MULTI: "any number of classes",
    REGRESSION: "a number",
}
USES = {
    NUMERIC: "learn from, as a number",
    CATEGORICAL: "learn from, as a category",
    "kept": "keep beside",
    "ignored": "leave out",
}


@get_or_post
def dataset_new(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    return _upload_page(request, project, None)


@get_or_post
def dataset_new_version(request: HttpRequest, project_slug: str, dataset_name: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    return _upload_page(request, project, datasets.get(project=project, name=dataset_name))


@get_or_post
def dataset_mapping(request: HttpRequest, project_slug: str, upload_id: UUID) -> HttpResponse:
    """What was understood. A change of the form (through htmx) shows it again, read differently;
    sending it makes the version."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    upload = (
        StagedUpload.objects.select_related("dataset").filter(project=project, pk=upload_id).first()
    )
    if upload is None:
        raise Missing("This upload is gone: it was discarded, or waited too long. Upload it again.")
    files = len(upload.understood["reading"]["files"])
    if request.method != "POST":
        initial = {"name": suggested_name(upload.source_name, project.slug)}
        form = MappingForm(initial=initial)
        return _mapping_page(request, project, upload, form, datasets.preview(upload=upload))
    changes = reading_from(request.POST, files)
    task = str(changes.pop("task", ""))
    looking = bool(request.headers.get("HX-Request")) or "look" in request.POST
    posted = request.POST.copy()
    if upload.dataset is not None:
        posted["name"] = upload.dataset.name
    form = MappingForm(posted)
    if not looking and form.is_valid():
        try:
            version = datasets.confirm(
                upload=upload,
                name=form.cleaned_data["name"],
                task=task,
                reading=changes,
                description=form.cleaned_data["description"],
                by=person(request),
            )
        except DomainError as error:
            form_errors.show(error, form)
        else:
            return redirect(
                "projects:dataset_version", project.slug, version.dataset.name, version.number
            )
    if looking:
        form = MappingForm(initial=request.POST.dict())
    try:
        shown = datasets.read_again(upload=upload, reading=changes | {"task": task})
    except DomainError as error:
        shown = datasets.preview(upload=upload)
        shown["problems"].insert(0, {"severity": "error", "detail": error.detail})
    return _mapping_page(request, project, upload, form, shown)


@require_safe
def dataset_upload_sound(
    request: HttpRequest, project_slug: str, upload_id: UUID, file: int, place: int
) -> HttpResponse:
    """A sound of the preview."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    upload = StagedUpload.objects.filter(project=project, pk=upload_id).first()
    if upload is None:
        raise Missing("This upload is gone.")
    wav = datasets.sound_of_upload(upload=upload, file=file, place=place)
    return downloads.sound(wav, asked=request.headers.get("Range", ""))


@require_safe
def dataset_upload_waveform(
    request: HttpRequest, project_slug: str, upload_id: UUID, file: int, place: int
) -> HttpResponse:
    """The same, drawn."""
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    upload = StagedUpload.objects.filter(project=project, pk=upload_id).first()
    if upload is None:
        raise Missing("This upload is gone.")
    return downloads.drawing(datasets.waveform_of_upload(upload=upload, file=file, place=place))


@require_POST
def dataset_discard(request: HttpRequest, project_slug: str, upload_id: UUID) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    upload = StagedUpload.objects.filter(project=project, pk=upload_id).first()
    if upload is not None:
        datasets.discard(upload=upload, by=person(request))
        messages.success(request, f"{upload.source_name} is forgotten; nothing was stored.")
    return redirect("projects:dataset_list", project.slug)


@require_POST
def dataset_try_again(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug, at_least=Role.EDITOR)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    if version.operation is not None:
        made = operations.again(version=version, by=person(request))
        return redirect("projects:dataset_version", project.slug, made.dataset.name, made.number)
    if hub_datasets.was_not_fetched(version):
        made = hub_datasets.again(version=version, by=person(request))
        return redirect("projects:dataset_version", project.slug, made.dataset.name, made.number)
    upload = datasets.try_again(version=version, by=person(request))
    return redirect("projects:dataset_mapping", project.slug, upload.pk)


def _upload_page(request: HttpRequest, project: Project, dataset: Dataset | None) -> HttpResponse:
    """The script of the page sends the form itself, to show how far it is, and wants JSON."""
    by_script = request.headers.get("X-Requested-With") == "XMLHttpRequest"
    from_hub = request.method == "POST" and "hub_id" in request.POST
    hub_form = HubForm(
        request.POST if from_hub else None,
        tasks=hub_datasets.tasks(),
        next_version=dataset is not None,
    )
    if from_hub and hub_form.is_valid():
        try:
            version = _taken(request, project, dataset, hub_form)
        except DomainError as error:
            fields = {name.replace("hub.", "hub_"): told for name, told in error.fields.items()}
            form_errors.show(type(error)(error.detail, fields=fields), hub_form)
        else:
            return redirect(
                "projects:dataset_version", project.slug, version.dataset.name, version.number
            )
    # With a file alone there are no fields, and yet a form.
    posted = request.method == "POST" and not from_hub
    form = FilesForm(request.POST if posted else None, request.FILES if posted else None)
    if posted and form.is_valid():
        try:
            upload = _staged(request, project, dataset, form.cleaned_data)
        except DomainError as error:
            form_errors.show(error, form)
        else:
            address = reverse("projects:dataset_mapping", args=[project.slug, upload.pk])
            return JsonResponse({"location": address}) if by_script else redirect(address)
    if request.method == "POST" and by_script:
        sentences = [sentence for errors in form.errors.values() for sentence in errors]
        detail = " ".join(dict.fromkeys(map(str, sentences))) or "Choose a file."
        return JsonResponse({"detail": detail}, status=400)
    crumbs = [("Datasets", reverse("projects:dataset_list", args=[project.slug]))]
    if dataset is not None:
        parts = [project.slug, dataset.name]
        crumbs.append((dataset.name, reverse("projects:dataset_detail", args=parts)))
    context = {
        "project": project,
        "section": "datasets",
        "title": f"New version of {dataset.name}" if dataset else "New dataset",
        "crumb": "New version" if dataset else "New dataset",
        "crumbs": crumbs,
        "form": form,
        "hub_form": hub_form,
        "hub": urlsplit(settings.HF_ENDPOINT).netloc,
        "dataset": dataset,
        "endings": ",".join(_endings()),
        "most_bytes": settings.DISTILLHUB_MAX_UPLOAD_MIB << 20,
        "most_files": datasets.MOST_FILES,
    }
    status = 400 if request.method == "POST" else 200
    return render(request, "projects/dataset_new.html", context, status=status)


def _staged(
    request: HttpRequest, project: Project, dataset: Dataset | None, sent: dict[str, Any]
) -> StagedUpload:
    """What the form brought, or the finished uploads that it names."""
    asked: dict[str, Any] = {"project": project, "dataset": dataset, "by": person(request)}
    if not sent["upload"]:
        file = sent["file"]
        return datasets.stage(file=file, name=file.name, test_file=sent["test_file"], **asked)
    ids = [*sent["upload"], *sent["test_upload"]]
    with resumable.files(upload_ids=ids, by=person(request)) as files:
        first = files[0]
        test = files[-1] if sent["test_upload"] else None
        more = files[1:-1] if test else files[1:]
        return datasets.stage(
            file=first, name=first.name or "upload", more=more, test_file=test, **asked
        )


def _taken(
    request: HttpRequest, project: Project, dataset: Dataset | None, form: HubForm
) -> DatasetVersion:
    """The version that a worker makes of a dataset of the hub."""
    asked: dict[str, Any] = {"hub": form.hub, "by": person(request)}
    if dataset is None:
        own = form.hub["id"].rstrip("/").rpartition("/")[2]
        name = form.cleaned_data["name"] or suggested_name(own, project.slug)
        asked |= {"name": name, "task": form.cleaned_data["task"]}
    return hub_datasets.take(project=project, dataset=dataset, **asked)


def _endings() -> list[str]:
    """What files are usually called, for the dialog that chooses one."""
    found = {ending for form in formats.formats().values() for ending in form.suffixes}
    return sorted(found | set(compressed.ENDINGS))


def _mapping_page(
    request: HttpRequest,
    project: Project,
    upload: StagedUpload,
    form: MappingForm,
    shown: dict[str, Any],
) -> HttpResponse:
    labels = list(shown["labels"].items())
    highest = max((rows for _, rows in labels), default=1)
    for file in shown["files"]:
        names = [column["name"] for column in file["columns"]]
        file["numbered"] = [
            (line, list(zip(names, values, strict=True)))
            for line, values in zip(file["lines"], file["rows"], strict=True)
        ]
    reading = shown["reading"]
    form_of = formats.get(upload.format)
    by_word = shown["task"] == TOKENS_TASK
    by_values = not isinstance(form_of, RecordFormat)
    crumbs = [("Datasets", reverse("projects:dataset_list", args=[project.slug]))]
    context = {
        "project": project,
        "section": "datasets",
        "title": f"Check {upload.source_name}",
        "crumb": "Mapping",
        "crumbs": crumbs,
        "upload": upload,
        "form": form,
        "shown": shown,
        "reading": reading,
        "splits": SPLITS,
        "roles": [
            (role, (WORD_ROLES if by_word else ROLES)[role], not needed)
            for role, needed in readings.roles_of(form_of, shown["task"]).items()
        ],
        "soft": _soft(form_of, shown),
        "asks_labels": _asks_labels(form_of, shown),
        "label_names": "\n".join(reading.get("labels") or ()),
        "by_word": by_word,
        "tag_names": " ".join(reading.get("tag_names") or ()),
        "kinds": [(kind, KINDS[kind]) for kind in shown["kinds"]]
        if not by_word and shown["task"] not in UNLABELLED
        else (),
        "uses": USES.items() if shown["task"] == TABLE_TASK else (),
        "loose": _loose(shown["files"][0]["columns"], reading),
        "columns": shown["files"][0]["columns"],
        "labels": [(name, rows, rows / highest) for name, rows in labels[:SHOWN_LABELS]],
        "label_count": len(labels),
        "label_rest": max(0, len(labels) - SHOWN_LABELS),
        "blocked": any(one["severity"] == "error" for one in shown["problems"]),
        "encodings": encodings.ENCODINGS.items(),
        "delimiters": list(form_of.delimiters.items()),
        "layouts": _layouts(form_of),
        "noun": getattr(form_of, "noun", "line"),
        "skips": ""
        if isinstance(form_of, MediaTable)
        else "lines with a wrong number of values"
        if by_values
        else "rows that cannot be read",
        "shares": {name: round(100 * share) for name, share in shown["reading"]["splits"].items()},
        "divides": _divides(shown),
        "given": _given(shown),
        "dividing": _dividing(shown, in_order=upload.format == PlainText.key),
    }
    fragment = bool(request.headers.get("HX-Request"))
    template = "projects/_dataset_mapping.html" if fragment else "projects/dataset_mapping.html"
    return render(request, template, context)


def _soft(form: Format, shown: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(what names begin with, in words, whether it is chosen) of columns that may hold the
    probabilities of classes."""
    if "weight" not in form.beside or shown["problem"] != SINGLE:
        return []
    if shown["task"] in {*UNLABELLED, TOKENS_TASK}:
        return []
    chosen = shown["reading"]["columns"].get("soft_labels")
    return [
        (before, f"{before}… ({len(found)} columns)", found == chosen)
        for before, found in readings.prefixed(shown["files"][0]["columns"]).items()
    ]


def _asks_labels(form: Format, shown: dict[str, Any]) -> bool:
    """Whether labels may be told that no row has yet."""
    columns, task = shown["reading"]["columns"], shown["task"]
    if "label" not in form.roles(task) or columns.get("label") or columns.get("soft_labels"):
        return False
    return bool(task != TOKENS_TASK and shown["problem"] != REGRESSION)


def _layouts(form: Format) -> list[tuple[str, str]]:
    """What the objects of a file may be."""
    if not isinstance(form, RecordFormat):
        return []
    return [(key, one.label) for key, one in LAYOUTS.items()]


def _loose(found: list[dict[str, Any]], reading: dict[str, Any]) -> list[tuple[int, str, str]]:
    """(place, column, what becomes of it) of the columns without a role of their own."""
    columns = reading["columns"]
    taken = {columns.get(role) for role in ROLES} | set(columns.get("soft_labels", {}).values())
    use = dict.fromkeys(reading["others"], "kept") | columns.get("features", {})
    names = [column["name"] for column in found]
    return [
        (place, name, use.get(name, "ignored"))
        for place, name in enumerate(names)
        if name not in taken
    ]


def _divides(shown: dict[str, Any]) -> bool:
    """Whether splits are made here: nothing says of every row where it belongs."""
    if shown["reading"]["columns"].get("split"):
        return False
    named = [set(file["splits"]) - {""} | ({file["split"]} - {None}) for file in shown["files"]]
    return not all(named) or set().union(*named) == {"train"}


def _given(shown: dict[str, Any]) -> str:
    """What the folders of an archive say of splits: `900 train, 300 test; …`; else nothing."""
    if shown["reading"]["columns"].get("split") or any(file["split"] for file in shown["files"]):
        return ""
    counts: Counter[str] = Counter()
    for file in shown["files"]:
        counts.update(file["splits"])
    told = [f"{ui.grouped(counts[name])} {name}" for name in SPLITS if counts[name]]
    if not told:
        return ""
    said = ", ".join(told)
    if counts[""]:
        return f"{said}; the other {ui.grouped(counts[''])} are divided"
    if set(+counts) == {TRAIN}:
        return f"{said}, divided as told"
    if counts[TRAIN] and counts[TEST] and not counts[VALIDATION]:
        return f"{said}; validation ({ui.percent(splits.CARVED, 0)} of train) taken from train"
    return said


def _dividing(shown: dict[str, Any], *, in_order: bool) -> str:
    """How rows come into the splits that are made here."""
    if in_order:
        return "The text is divided in its order: its beginning trains, its end tests."
    named = shown["labels"] or not shown["has_columns"]
    if shown["task"] in UNLABELLED or shown["problem"] == REGRESSION or not named:
        return "Rows are drawn by chance, and equal inputs stay together, so nothing leaks."
    return (
        "Every label gets its share in each split, and equal inputs stay together, so nothing "
        "leaks."
    )
