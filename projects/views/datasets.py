"""Datasets and their versions, for reading."""

from __future__ import annotations

from typing import Any

from django.db.models import Count, Prefetch
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from distillhub.lib import downloads
from distillhub.lib.errors import Missing
from distillhub.lib.later import np
from distillhub.templatetags import ui
from projects import permissions
from projects.ingest import page as stored_rows
from projects.ingest.formats import MULTI, REGRESSION, TOKENS_TASK, UNLABELLED
from projects.ingest.issues import FILTERED
from projects.models import Dataset, DatasetVersion, Project
from projects.services import datasets, operations, preferences, removal, version_rows, written
from projects.views import dataset_charts, dataset_rows

ISSUE_ROWS = 5  # shown with each issue
THUMBNAIL, MOST_PIXELS = 112, 1024
MODES = {
    "1": "Black and white",
    "L": "Grey",
    "LA": "Grey, transparent",
    "P": "Palette",
    "RGB": "Colour",
    "RGBA": "Colour, transparent",
}
UNITS = {
    "characters": "characters",
    "words": "words",
    "width": "pixels",
    "height": "pixels",
    "milliseconds": "ms",
    "rate": "samples a second",
}
LANGUAGES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hi": "Hindi",
    "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese", "ko": "Korean",
    "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian",
    "ru": "Russian", "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian",
    "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
CHARTED_COLUMNS = 12
MOST_TALLIED = 12
MOST_LINEAGE = 100  # versions
TABS = ("rows", "map", "labels", "statistics", "issues", "details")
MAP = "map"  # a page of its own, because training makes it


@require_safe
def dataset_list(request: HttpRequest, project_slug: str) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    newest = DatasetVersion.objects.newest_of_each().select_related("dataset", "created_by")
    found = (
        Dataset.objects.filter(project=project)
        .annotate(version_count=Count("versions"))
        .prefetch_related(Prefetch("versions", newest, to_attr="newest"))
    )
    lines = [(dataset, dataset.newest[0]) for dataset in found if dataset.newest]  # type: ignore[attr-defined]
    lines.sort(key=lambda line: line[1].created_at, reverse=True)
    context = {
        "project": project,
        "section": "datasets",
        "title": "Datasets",
        "lines": lines,
        "busy": any(version.status == "ingesting" for _, version in lines),
    }
    return render(request, "projects/dataset_list.html", context)


@require_safe
def dataset_detail(request: HttpRequest, project_slug: str, dataset_name: str) -> HttpResponse:
    """The newest version, at an address that does not change."""
    project = permissions.project_for(request.user, project_slug)
    dataset = datasets.get(project=project, name=dataset_name)
    newest = dataset.versions.order_by("-number").first()
    if newest is None:
        raise Missing(f"{dataset.name} has no version.")
    return redirect("projects:dataset_version", project.slug, dataset.name, newest.number)


@require_safe
def dataset_version(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> HttpResponse:
    """The page, or what it polls: its progress while a worker reads, then a word to load anew."""
    project = permissions.project_for(request.user, project_slug)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    polled = request.headers.get("HX-Target") == "ingestion"
    if polled and version.status == DatasetVersion.Status.INGESTING:
        return render(request, "projects/_dataset_progress.html", {"version": version})
    if polled:
        return HttpResponse(headers={"HX-Refresh": "true"})
    context = _frame(project, version)
    if version.is_ready:
        tab = request.GET.get("tab", "rows")
        context["tab"] = tab if tab in _tabs_of(version) and tab != MAP else "rows"
        context |= _content(request, version, context["tab"])
        context["tabs"] = _tabs(project, version)
    fragment = request.headers.get("HX-Target") == "rows" and version.is_ready
    template = "projects/_dataset_rows.html" if fragment else "projects/dataset_version.html"
    answer = render(request, template, context)
    if fragment:
        answer.headers["HX-Push-Url"] = request.path + context["address"]
    return answer


@require_safe
def dataset_download(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int
) -> FileResponse:
    project = permissions.project_for(request.user, project_slug)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    return written.download(version=version, form=request.GET.get("as", "parquet"))


@require_safe
def dataset_sound(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int, row_id: int
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    wav = version_rows.sound(version=version, row_id=row_id)
    return downloads.sound(wav, asked=request.headers.get("Range", ""))


@require_safe
def dataset_waveform(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int, row_id: int
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    return downloads.drawing(version_rows.waveform(version=version, row_id=row_id))


@require_safe
def dataset_image(
    request: HttpRequest, project_slug: str, dataset_name: str, number: int, row_id: int
) -> HttpResponse:
    project = permissions.project_for(request.user, project_slug)
    version = datasets.version_of(project=project, name=dataset_name, number=number)
    size = MOST_PIXELS if request.GET.get("size") == "full" else THUMBNAIL
    return downloads.picture(version_rows.picture(version=version, row_id=row_id, size=size))


def frame(project: Project, version: DatasetVersion, tab: str) -> dict[str, Any]:
    """What stands around a tab of a ready version that has a page of its own."""
    return _frame(project, version) | {"tab": tab, "tabs": _tabs(project, version)}


def is_by_word(version: DatasetVersion) -> bool:
    """Whether every word has a label."""
    return version.dataset.task == TOKENS_TASK


def _frame(project: Project, version: DatasetVersion) -> dict[str, Any]:
    """What stands around every tab."""
    return {
        "project": project,
        "section": "datasets",
        "title": version.dataset.name,
        "crumb": version.reference,
        "crumbs": [("Datasets", reverse("projects:dataset_list", args=[project.slug]))],
        "dataset": version.dataset,
        "version": version,
        "versions": version.dataset.versions.select_related("created_by"),
        "shape": version.input_column or "table",
        "by_word": version.dataset.task == TOKENS_TASK,
        "unlabelled": version.dataset.task in UNLABELLED,
        "awaits_labels": version.is_ready and not has_labels(version),
        "about_label": _about_label(version),
        "operations": operations.offered(version) if version.is_ready else [],
        "forms": written.forms(version),
        "has_pairs": preferences.has_pairs(version),
        "worst": next((one["severity"] for one in version.issues), ""),
    }


def _about_label(version: DatasetVersion) -> str:
    """What stands below the number of labels."""
    columns = len(version.features)
    if version.dataset.task == TOKENS_TASK:
        return "one for each word"
    if version.problem == MULTI:
        return "any number of them a row"
    return f"from {columns} column" + ("" if columns == 1 else "s") if columns else ""


def _tabs(project: Project, version: DatasetVersion) -> list[tuple[str, str, str, str | None]]:
    parts = [project.slug, version.dataset.name, version.number]
    address = reverse("projects:dataset_version", args=parts)
    counts = {
        "rows": ui.grouped(version.rows),
        "labels": ui.grouped(len(version.labels)) if version.labels else None,
        "issues": ui.grouped(version.issue_count),
    }
    addresses = {MAP: reverse("training:dataset_map", args=parts)}
    return [
        (key, key.capitalize(), addresses.get(key, f"{address}?tab={key}"), counts.get(key))
        for key in _tabs_of(version)
    ]


def _tabs_of(version: DatasetVersion) -> tuple[str, ...]:
    """Without the labels where there are none."""
    told = version.labels or (version.dataset.task not in UNLABELLED and has_labels(version))
    return TABS if told else tuple(key for key in TABS if key != "labels")


def has_labels(version: DatasetVersion) -> bool:
    """Whether a row has a label, or none needs one."""
    return version.dataset.task in UNLABELLED or version.labelled > 0


def _content(request: HttpRequest, version: DatasetVersion, tab: str) -> dict[str, Any]:
    if tab == "rows":
        return dataset_rows.table(request, version)
    if tab == "labels" and version.problem == REGRESSION:
        facts = version.statistics["label"]
        return {
            "figure": dataset_charts.distribution(facts, ""),
            "height": 320,
            "facts": zip(
                ("Least", "5 %", "Median", "Mean", "95 %", "Most", "Deviation"),
                _summed_up(facts),
                strict=True,
            ),
        }
    if tab == "labels":
        figure, height = dataset_charts.labels(version)
        return {
            "figure": figure,
            "height": height,
            "label_lines": _label_lines(version),
            "words_per_label": version.statistics.get("words_per_label"),
        }
    if tab == "statistics":
        return {
            "measures": _measures(version),
            "facts": _facts(version),
            "tallies": _tallies(version),
            **_columns(version),
        }
    if tab == "issues":
        return {
            "issues": [issue | _issue_rows(version, issue) for issue in version.issues],
            "remedies": operations.remedies(version),
            "following": f"{version.dataset.name}@{version.dataset.next_number()}",
        }
    return {
        "reading": version.reading,
        "lineage": _lineage(version),
        "freed": removal.freed_by([version]),
    }


def _lineage(version: DatasetVersion) -> list[DatasetVersion]:
    """The version and those that it was made of, back to an upload."""
    every = version.dataset.versions.select_related("created_by").in_bulk()
    found = [every[version.pk]]
    while (parent := every.get(found[-1].parent_id)) is not None and len(found) < MOST_LINEAGE:
        found.append(parent)
    return found


def _label_lines(version: DatasetVersion) -> list[tuple[str, int, list[int]]]:
    """(label, rows, rows of each split), the most frequent first."""
    return [
        (name, rows, [split["label_counts"].get(name, 0) for split in version.splits.values()])
        for name, rows in dataset_charts.label_totals(version)
    ]


def _measures(version: DatasetVersion) -> list[dict[str, Any]]:
    """Every measured length or size with its chart."""
    measures = version.statistics.get("measures", {})
    return [
        {
            "name": "length" if name == "milliseconds" else name,
            "unit": UNITS.get(name, name),
            "facts": facts,
            "figure": dataset_charts.histogram(
                facts["histogram"]["edges"], facts["histogram"]["counts"], UNITS.get(name, name)
            ),
        }
        for name, facts in measures.items()
        if facts
    ]


def _columns(version: DatasetVersion) -> dict[str, Any]:
    """What a table's columns hold: numbers with their charts, and words with their commonest."""
    columns = version.statistics.get("columns", {})
    numeric = [(name, facts) for name, facts in columns.items() if facts["kind"] == "numeric"]
    words = [(name, facts) for name, facts in columns.items() if facts["kind"] == "categorical"]
    return {
        "numeric": [(name, facts["missing"], _summed_up(facts)) for name, facts in numeric],
        "distributions": [
            (name, dataset_charts.distribution(facts, ""))
            for name, facts in numeric[:CHARTED_COLUMNS]
            if "histogram" in facts
        ],
        "words": [
            (
                name,
                facts | {"left": facts["distinct"] - len(facts["most"])},
                [(word, rows, rows / max(1, version.rows)) for word, rows in facts["most"]],
            )
            for name, facts in words
        ],
    }


def _summed_up(facts: dict[str, Any]) -> list[str]:
    """Least, 5 %, median, mean, 95 %, most and deviation of numbers; nothing of none."""
    if "minimum" not in facts:
        return [""] * 7
    low, middle, high = (facts["quantiles"][percent] for percent in ("5", "50", "95"))
    shown = [facts["minimum"], low, middle, facts["mean"], high, facts["maximum"]]
    return [dataset_rows.written(value) for value in (*shown, facts["deviation"])]


def _facts(version: DatasetVersion) -> list[tuple[str, str, str]]:
    """(what, figure, more about it) of what statistics say in one number each."""
    told = version.statistics
    facts = []
    if balance := told.get("balance"):
        most, least = balance["commonest"], balance["rarest"]
        words = (
            f"{most[0]} has {ui.grouped(most[1])} rows of train, {least[0]} {ui.grouped(least[1])}"
        )
        facts.append(("Imbalance", f"{balance['ratio']:g} : 1", words))
        words = f"of {balance['labels']} labels: as many even ones say as much"
        facts.append(("Effective labels", f"{balance['effective']:g}", words))
    if (length := told.get("measures", {}).get("milliseconds")) and length:
        seconds = round(length["mean"] * version.rows / 1000)
        facts.append(("In all", ui.duration(seconds), "of sound"))
    if near := told.get("near"):
        words = f"in {ui.grouped(near['groups'])} groups" if near["groups"] else "none"
        words = words if near["complete"] else f"{words}, of those that were compared"
        facts.append(("Near duplicates", ui.grouped(near["rows"]), words))
    if quick := told.get("label_errors"):
        words = f"a {quick['model']}" + (
            "" if quick["usable"] else ": too little to suspect labels"
        )
        facts.append(("A quick model is right", f"{quick['accuracy']:.0%}", words))
    return facts


def _tallies(version: DatasetVersion) -> list[dict[str, Any]]:
    """What is counted by name: languages, shapes and kinds, values that are missing."""
    told, found = version.statistics, []
    if languages := told.get("languages"):
        looked = f"of {ui.grouped(languages['sample'])} rows"
        counts = {LANGUAGES.get(code, code): many for code, many in languages["counts"].items()}
        counts |= {"not sure": languages["unsure"]} if languages["unsure"] else {}
        found.append(_tally("Languages", looked, counts, languages["sample"]))
    if shapes := told.get("shapes"):
        found.append(_tally("Shapes", "width : height", shapes, version.rows))
    if kinds := told.get("kinds"):
        title = "Kinds of sounds" if version.input_column == "audio" else "Kinds of pictures"
        named = {MODES.get(mode, mode): many for mode, many in kinds.items()}
        found.append(_tally(title, "", named, version.rows))
    if missing := told.get("missing"):
        found.append(_tally("Kept columns", "rows without a value", missing, version.rows))
    return found


def _tally(title: str, note: str, counts: dict[str, int], of: int) -> dict[str, Any]:
    lines = [(name, many, many / max(1, of)) for name, many in counts.items()]
    left = len(lines) - MOST_TALLIED
    return {"title": title, "note": note, "lines": lines[:MOST_TALLIED], "left": max(0, left)}


def _issue_rows(version: DatasetVersion, issue: dict[str, Any]) -> dict[str, Any]:
    """The first rows that an issue lists, each with the row it is to be compared with and the label
    that it should perhaps have, and how many a list of rows finds."""
    if not issue["rows"]:
        return {}
    code, first = issue["code"], issue["rows"][:ISSUE_ROWS]
    more = version.issue_rows.get(code, {})
    beside = more.get("beside", [])[: len(first)]
    with datasets.open_file(version=version) as stream:
        asked = np.array([*first, *beside], dtype=np.int64)
        rows = dataset_rows.shown(
            version, stored_rows.these(stream, asked, without=("image", "audio"))
        )
    shown, others = rows[: len(first)], rows[len(first) :]
    better = [version.labels[place] for place in more.get("better", [])[: len(first)]]
    for name, values in (("beside", others), ("better", better)):
        for row, value in zip(shown, values, strict=False):
            row[name] = value
    return {"shown": shown, "findable": min(issue["count"], FILTERED)}
