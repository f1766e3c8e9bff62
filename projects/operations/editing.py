"""Change rows: their labels, splits, texts and tags, or leave them out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rest_framework import serializers

from distillhub.lib.later import np
from projects.ingest import page
from projects.ingest.formats import MOST_LABEL, SPLITS
from projects.models import DatasetVersion
from projects.operations import conditions, label_values, operation, registry
from projects.operations.operation import Parent, StoredRow

MOST_CHANGES = 50_000
MOST_CONDITIONS = 100  # changes of all rows that match
MOST_TEXT = 1 << 20  # characters
MOST_TAG, MOST_TAGS = 60, 20
TAGS = "tags"  # the column that tags are kept in, with commas between them
WHICH = ("row_id", "row_ids", "where")


class Change(operation.Options):
    """Of one row, of several, or of all for which conditions hold."""

    row_id = serializers.IntegerField(min_value=0, max_value=2**53, required=False)
    row_ids = serializers.ListField(
        child=serializers.IntegerField(min_value=0, max_value=2**53),
        required=False,
        allow_empty=False,
        max_length=conditions.MOST_ROW_IDS,
    )
    where = conditions.Conditions(required=False, help_text="All rows that these hold for.")
    leave_out = serializers.BooleanField(required=False)
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=50 * MOST_LABEL, required=False, allow_null=True, allow_blank=True
    )
    split = serializers.ChoiceField(choices=SPLITS, required=False)
    text = serializers.CharField(max_length=MOST_TEXT, required=False, trim_whitespace=False)
    tags = serializers.ListField(
        child=serializers.CharField(max_length=MOST_TAG),
        required=False,
        max_length=MOST_TAGS,
        help_text="Added to those in the column `tags`, which comes to be if there is none.",
    )
    untag = serializers.ListField(
        child=serializers.CharField(max_length=MOST_TAG),
        required=False,
        max_length=MOST_TAGS,
        help_text="Tags that are taken away.",
    )


@registry.register
class Edit(operation.Operation):
    key = "edit"
    label = "Change rows"
    summary = "Change the labels, splits, texts or tags of rows, or leave them out."

    class Options(operation.Options):
        changes = serializers.ListField(
            child=Change(),
            allow_empty=False,
            max_length=MOST_CHANGES,
            help_text="Each of one row (`row_id`), of several (`row_ids`) or of all that match "
            "(`where`); of two of one row the later holds.",
        )

    has_form: ClassVar[bool] = False
    can_be_tried: ClassVar[bool] = True

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        seen: set[int] = set()
        tagged = any(change.get("tags") or change.get("untag") for change in options["changes"])
        if tagged and (column := _column(version.columns)) and column["role"] != "extra":
            raise operation.refuse("changes", f"The column {TAGS} holds something else here.")
        if sum("where" in change for change in options["changes"]) > MOST_CONDITIONS:
            sentence = f"At most {MOST_CONDITIONS} changes may say where."
            raise operation.refuse("changes", sentence)
        for change in options["changes"]:
            if sum(name in change for name in WHICH) != 1:
                sentence = "Say of each change which rows: row_id, row_ids or where."
                raise operation.refuse("changes", sentence)
            for row_id in named(change):
                if row_id >= version.rows:
                    raise operation.refuse("changes", f"{version.reference} has no row {row_id}.")
            if "row_id" in change:
                if change["row_id"] in seen:
                    raise operation.refuse("changes", f"Row {change['row_id']} is changed twice.")
                seen.add(change["row_id"])
            if "where" in change:
                conditions.filter_of(version, change["where"])
            _check_values(version, change)

    def told(self, options: Mapping[str, Any]) -> str:
        changes = options["changes"]
        if all("row_id" in change for change in changes):
            return _told_singly(changes)
        said = [f"{told_rows(one)} {told_change(one)}" for one in changes[:3]]
        more = len(changes) - len(said)
        return f"Changed {'; '.join(said)}" + (f" and {more} more" if more else "")

    def columns(self, parents: list[Parent], options: Mapping[str, Any]) -> list[dict[str, str]]:
        found = super().columns(parents, options)
        if _column(found) is None and any(change.get("tags") for change in options["changes"]):
            found = [*found, {"name": TAGS, "type": "string", "role": "extra"}]
        return found

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        singly: dict[int, list[int]] = {}
        together: list[tuple[int, np.ndarray[Any, Any]]] = []
        changes = options["changes"]
        for place, change in enumerate(changes):
            if "where" in change:
                chosen = np.zeros(parent.version.rows, dtype=bool)
                chosen[_matching(parent, change["where"])] = True
                together.append((place, chosen))
            for row_id in named(change):
                singly.setdefault(row_id, []).append(place)
        tags = any(one["name"] == TAGS for one in self.columns(parents, options))
        for row in parent.rows():
            row_id = row["row_id"]
            places = [place for place, chosen in together if chosen[row_id]]
            if tags:
                row.setdefault(TAGS, None)
            found: dict[str, Any] = {}
            for place in sorted([*places, *singly.get(row_id, [])]):
                found = joined(found, changes[place])
            if found.get("leave_out"):
                continue
            yield _changed(parent.version, row, found) if found else row


def named(change: Mapping[str, Any]) -> list[int]:
    """The rows that a change names one by one."""
    return [change["row_id"]] if "row_id" in change else list(change.get("row_ids", ()))


def joined(first: Mapping[str, Any], then: Mapping[str, Any]) -> dict[str, Any]:
    """What two changes of one row make together, without saying which row."""
    found = {key: value for key, value in first.items() if key not in WHICH}
    later = {key: value for key, value in then.items() if key not in WHICH}
    tags, untag = later.pop("tags", []), later.pop("untag", [])
    kept = [one for one in found.pop("tags", []) if one not in untag]
    taken = [one for one in found.pop("untag", []) if one not in tags]
    if added := list(dict.fromkeys([*kept, *tags])):
        found["tags"] = added
    if gone := list(dict.fromkeys([*taken, *untag])):
        found["untag"] = gone
    return found | later


def told_rows(change: Mapping[str, Any]) -> str:
    if "row_id" in change:
        return f"row {change['row_id']}"
    if "row_ids" in change:
        return _rows(len(change["row_ids"]))
    said = conditions.told(change["where"])
    return said if said == "all rows" else f"rows {said}"


def told_change(change: Mapping[str, Any]) -> str:
    if change.get("leave_out"):
        return "left out"
    parts = []
    if "label" in change:
        label = str(change["label"] or "")
        parts.append(f"given the label {label[:60]}" if label else "without their label")
    if "split" in change:
        parts.append(f"moved to {change['split']}")
    if "text" in change:
        parts.append("rewritten")
    if change.get("tags"):
        parts.append(f"tagged {', '.join(change['tags'])}")
    if change.get("untag"):
        parts.append(f"without the tag {', '.join(change['untag'])}")
    return ", ".join(parts) or "as they were"


def _told_singly(changes: list[dict[str, Any]]) -> str:
    out = sum(bool(one.get("leave_out")) for one in changes)
    kept = [one for one in changes if not one.get("leave_out")]
    parts = [
        (out, "left out"),
        (sum("label" in one for one in kept), "relabelled"),
        (sum("split" in one for one in kept), "moved"),
        (sum("text" in one for one in kept), "rewritten"),
        (sum(bool(one.get("tags") or one.get("untag")) for one in kept), "tagged"),
    ]
    said = ", ".join(f"{many} {word}" for many, word in parts if many)
    told = f"Changed {_rows(len(changes))}"
    return f"{told}: {said}" if said else told


def _rows(many: int) -> str:
    return "1 row" if many == 1 else f"{many} rows"


def _check_values(version: DatasetVersion, change: Mapping[str, Any]) -> None:
    """Raises Invalid."""
    which = told_rows(change)
    if change.get("text") is not None and version.input_column != "text":
        raise operation.refuse("changes", "Only rows of text have a text to change.")
    if change.get("label"):
        _stored_label(version, change["label"], which)
    if "text" in change and not change["text"].strip():
        raise operation.refuse("changes", f"The text of {which} would be empty.")
    for tag in (*change.get("tags", ()), *change.get("untag", ())):
        if "," in tag:
            raise operation.refuse("changes", f"A tag holds no comma, as {tag!r} does.")


def _changed(version: DatasetVersion, row: StoredRow, change: Mapping[str, Any]) -> StoredRow:
    if "label" in change:
        row["label"] = _stored_label(version, change["label"] or "", f"row {row['row_id']}")
    for name in ("split", "text"):
        if name in change:
            row[name] = change[name]
    if TAGS in row and ("tags" in change or "untag" in change):
        were = [one.strip() for one in (row[TAGS] or "").split(",") if one.strip()]
        gone = set(change.get("untag", ()))
        tags = [one for one in were if one not in gone] + list(change.get("tags", ()))
        row[TAGS] = ", ".join(dict.fromkeys(tags)) or None
    return row


def _column(columns: list[dict[str, str]]) -> dict[str, str] | None:
    return next((one for one in columns if one["name"] == TAGS), None)


def _matching(parent: Parent, where: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    with parent.open() as stream:
        key = parent.version.file_sha256
        return page.matching(stream, conditions.filter_of(parent.version, where), key=key)


def _stored_label(version: DatasetVersion, label: str, which: str) -> str | None:
    """As it is stored. Raises Invalid."""
    try:
        return label_values.stored(version, label)
    except label_values.NoLabel as error:
        raise operation.refuse("changes", f"{error} {which}.") from None
