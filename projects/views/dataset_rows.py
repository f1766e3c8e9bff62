"""The rows of a version as a table that is filtered, sorted and curated (dataset_edits.py).

What is asked for stands in the address, under the names that REST and operations have for it.
"""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, QueryDict
from django.urls import reverse
from rest_framework.serializers import ValidationError

from distillhub.lib.errors import DomainError
from distillhub.templatetags import ui
from projects.ingest import restored, words
from projects.ingest.formats import TOKENS_TASK, UNLABELLED
from projects.ingest.plain_text import PlainText
from projects.models import DatasetVersion, Project
from projects.operation_forms import refusal
from projects.operations import conditions
from projects.permissions import person
from projects.services import likeness, pending, version_rows

PAGE_ROWS = 50
PAGE_PICTURES = 60
SELECTABLE_LABELS = 500  # beyond, a label is typed
MOST_TAGGED = 20_000  # characters of a row of words with tags
MOST_ADDRESS = 4000  # characters of what an address asks for
TESTS = {
    "is": "is",
    "not": "is not",
    "contains": "holds",
    "from": "is at least",
    "to": "is at most",
    "missing": "is missing",
}
FLAGS = ("unlabelled", "match_case", "whole_word", "regex")
NAMED = ("split", "label", "q", "length_from", "length_to", "issue")
ACTIONS = {
    "leave_out": "Leave out",
    "label": "Give the label",
    "split": "Move to the split",
    "tag": "Tag",
    "untag": "Take the tag",
}


class Asked:
    """What an address asks of the table: conditions, order, columns."""

    def __init__(self, version: DatasetVersion, given: QueryDict) -> None:
        self.version = version
        raw: dict[str, Any] = {name: given.get(name, "").strip()[:200] for name in NAMED}
        raw = {name: text for name, text in raw.items() if text}
        if "row_ids" in given:
            raw["row_ids"] = given.getlist("row_ids")[:100]
        raw |= {name: True for name in FLAGS if given.get(name, "") not in ("", "false", "0")}
        if "label" in raw:
            raw.pop("unlabelled", None)
        if "q" not in raw:
            for name in ("match_case", "whole_word", "regex"):
                raw.pop(name, None)
        where = [one[:1000] for one in given.getlist("where") if one.strip()]
        column, test = given.get("column", ""), given.get("test", "is")
        self.drafted = bool(column and test in TESTS) and (
            test == "missing" or bool(given.get("value", ""))
        )
        if self.drafted:
            where.append(f"{column}:{test}:{given.get('value', '')}"[:1000])
        if where:
            raw["where"] = list(dict.fromkeys(where))
        self.raw = raw
        row = given.get("like", "").strip()
        self.like = int(row) if row.isascii() and row.isdigit() and len(row) < 16 else None
        self.meaning = given.get("meaning", "").strip()[: likeness.MOST_WORDS]
        if self.like is not None:
            self.meaning = ""
        self.map = given.get("map", "").strip()[:200] if self.is_likened else ""
        # What is near comes first: no other order makes sense beside it.
        self.sort = "" if self.is_likened else given.get("sort", "").strip()[:200]
        self.every_column = columns_of(version)
        show = [name for name in given.getlist("show") if name in self.every_column]
        self.show = show or self.every_column

    @property
    def is_likened(self) -> bool:
        return self.like is not None or bool(self.meaning)

    @property
    def likeness(self) -> likeness.Like | None:
        """What rows are held against, if anything."""
        return likeness.asked(like=self.like, meaning=self.meaning, by=self.map)

    def address(self, **more: Any) -> QueryDict:
        """The same as an address, as short as can be."""
        found = QueryDict(mutable=True)
        for name, value in self.raw.items():
            values = value if isinstance(value, list) else [value]
            found.setlist(name, ["true" if one is True else str(one) for one in values])
        if self.like is not None:
            found["like"] = str(self.like)
        for name, value in (("meaning", self.meaning), ("map", self.map), ("sort", self.sort)):
            if value:
                found[name] = value
        if self.show != self.every_column:
            found.setlist("show", self.show)
        for name, value in more.items():
            found[name] = str(value)
        return found

    def conditions(self) -> dict[str, Any]:
        """As services take them. Raises Invalid."""
        shape = conditions.Conditions(data=self.raw)
        try:
            shape.is_valid(raise_exception=True)
        except ValidationError as error:
            raise refusal(error) from None
        found: dict[str, Any] = shape.validated_data
        return found


def address_of(version: DatasetVersion, kept: dict[str, Any]) -> str:
    """Saved conditions as the end of an address."""
    given = QueryDict(mutable=True)
    for name, value in kept.items():
        values = value if isinstance(value, list) else [value]
        given.setlist(name, ["true" if one is True else str(one) for one in values])
    return Asked(version, given).address(tab="rows").urlencode()


def columns_of(version: DatasetVersion) -> list[str]:
    """The columns of the table that may be shown or not, in their order."""
    by_word = version.dataset.task == TOKENS_TASK
    labelled = not by_word and version.dataset.task not in UNLABELLED
    kept = [one["name"] for one in version.columns if one["role"] in restored.KEPT]
    return ["split", *(["label"] if labelled else []), *version.features, *kept, "source"]


def table(request: HttpRequest, version: DatasetVersion) -> dict[str, Any]:
    """What the rows tab shows of what the address asks for."""
    asked, draft = Asked(version, request.GET), {}
    if not asked.drafted:
        draft = {name: request.GET.get(name, "")[:200] for name in ("column", "test", "value")}
    size = PAGE_PICTURES if version.input_column == "image" else PAGE_ROWS
    number = _whole(request.GET.get("page"))
    try:
        given = asked.conditions()
        rows, total = _page(version, given, asked, number, size)
        page = Paginator(range(total), size).get_page(number)
        if page.number != number:
            rows, _ = _page(version, given, asked, page.number, size)
        refused = ""
    except DomainError as error:
        rows, page, refused = [], Paginator([], size).get_page(1), error.detail
    extras = [
        one["name"]
        for one in version.columns
        if one["role"] in restored.KEPT and one["name"] in asked.show
    ]
    features = [name for name in version.features if name in asked.show]
    for row in rows:
        row["extras"] = [written(row.get(name)) for name in extras]
    address = asked.address(tab="rows")
    request.GET = address  # type: ignore[assignment]  # links on the page are made of it
    kept = pending.of(version=version, by=person(request))
    by_row = kept.by_row()
    rows = shown(version, rows)
    for row in rows:
        row["values"] = [written(row[name]) for name in features]
        row["pending"] = by_row.get(row["row_id"])
    return {
        "rows": rows,
        "features": features,
        "page": page,
        "asked": asked.raw,
        "where": [
            (one, conditions.said(one), _without(asked, one)) for one in asked.raw.get("where", [])
        ],
        "issue": asked.raw.get("issue", ""),
        "findable": [one["code"] for one in version.issues if one["rows"]],
        "refused": refused,
        "filtered": bool(asked.raw),
        "likened": asked.is_likened,
        "like": asked.like,
        "meaning": asked.meaning,
        "like_map": asked.map,
        "unlikened": _unlikened(asked),
        "extras": extras,
        "heads": _heads(asked, features, extras),
        "orders": _orders(version),
        "show": asked.show,
        "every_column": asked.every_column,
        "sort": asked.sort,
        "tests": TESTS,
        "comparable": list(conditions.comparable(version)),
        "actions": ACTIONS,
        "among": address.urlencode(),
        "pending": kept,
        "draft": draft,
        "row_query": asked.address().urlencode(),
        "sought": bool(asked.sort or asked.raw.get("where") or draft.get("column"))
        or bool(asked.raw.keys() & {*FLAGS, "length_from", "length_to"}),
        "selectable": selectable(version),
        "address": f"?{address.urlencode()}",
    }


def selectable(version: DatasetVersion) -> list[str]:
    """Labels to choose from; none where there are too many, and one is typed."""
    return version.labels if len(version.labels) <= SELECTABLE_LABELS else []


def _without(asked: Asked, one: str) -> str:
    """The address with one condition less."""
    address = asked.address(tab="rows")
    address.setlist("where", [other for other in asked.raw["where"] if other != one])
    return address.urlencode()


def _unlikened(asked: Asked) -> str:
    """The address without what rows are held against."""
    address = asked.address(tab="rows")
    for name in ("like", "meaning", "map"):
        address.pop(name, None)
    return address.urlencode()


def _heads(asked: Asked, features: list[str], extras: list[str]) -> list[dict[str, Any]]:
    """The heads of the table, each with what a click on it does to the order."""
    version, known = asked.version, conditions.comparable(asked.version)
    titles: list[tuple[str, str]] = [("row_id", "Row")]
    if asked.is_likened:
        titles.append(("similarity", "Likeness"))
    titles += [(name, name.capitalize()) for name in ("split", "label") if name in asked.show]
    if version.input_column == "audio":
        titles += [("audio", "Sound"), ("seconds", "Length")]
    elif version.input_column == "text":
        titles.append(("text", "Text"))
    titles += [(name, name) for name in (*features, *extras)]
    if "source" in asked.show:
        titles.append(("source", _source_title(version)))
    found = []
    for name, title in titles:
        up = asked.sort == name or (name == "row_id" and not asked.sort)
        up = up and not asked.is_likened
        down = asked.sort == f"-{name}"
        found.append(
            {
                "title": title,
                "number": known.get(name, name == "similarity"),
                # Lines are no words; and what is near comes first.
                "sortable": name in known and name != "source" and not asked.is_likened,
                "sort": f"-{name}" if up else None if name == "row_id" or down else name,
                "aria": "ascending" if up else "descending" if down else "none",
            }
        )
    return found


def _source_title(version: DatasetVersion) -> str:
    """What is told of where a row came from."""
    if version.input_column in ("image", "audio"):
        return "File"
    return "Characters" if version.format == PlainText.key else "Line"


def _orders(version: DatasetVersion) -> list[tuple[str, str]]:
    names = list(conditions.comparable(version))
    if version.input_column == "text":
        names.insert(0, "length")
    both = [(name, f"-{name}") for name in names if name not in ("row_id", "source")]
    ups = [(up, f"{up}, rising") for up, _ in both]
    downs = [(down, f"{down[1:]}, falling") for _, down in both]
    return sorted([*ups, *downs], key=lambda one: names.index(one[0].removeprefix("-")))


def _page(
    version: DatasetVersion, given: dict[str, Any], asked: Asked, number: int, size: int
) -> tuple[list[dict[str, Any]], int]:
    return version_rows.rows_and_total(
        version=version,
        sort=asked.sort or None,
        like=asked.likeness,
        offset=(number - 1) * size,
        limit=size,
        **given,
    )


def rows_url(project: Project, version: DatasetVersion, address: QueryDict) -> str:
    parts = [project.slug, version.dataset.name, version.number]
    query = address.urlencode()
    return reverse("projects:dataset_version", args=parts) + (f"?{query}" if query else "")


def shown(version: DatasetVersion, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their labels one by one, and their features in order."""
    separator, features = version.separator, list(version.features)
    by_word = version.dataset.task == TOKENS_TASK
    kinds = words.types(version.labels) if by_word else []
    for row in rows:
        if by_word:
            row["pieces"] = words.pieces(row["text"][:MOST_TAGGED], row["label"], kinds)
        label = row["label"]
        several = [] if label is None else [label]
        row["labels"] = label.split(separator) if label is not None and separator else several
        row["values"] = [written(row[name]) for name in features]
    return rows


def written(value: float | str | None) -> str:
    if not isinstance(value, float):
        return "–" if value is None or value == "" else str(value)
    return ui.grouped(round(value)) if 1e5 <= abs(value) < 1e15 else f"{value:.6g}"


def _whole(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else 1
