"""Change single rows: their labels, splits and texts, or leave them out."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest.formats import MOST_LABEL, SPLITS
from projects.models import DatasetVersion
from projects.operations import label_values, operation, registry
from projects.operations.operation import Parent, StoredRow

MOST_CHANGES = 50_000
MOST_TEXT = 1 << 20  # characters


class Change(operation.Options):
    row_id = serializers.IntegerField(min_value=0, max_value=2**53)
    leave_out = serializers.BooleanField(required=False)
    label = serializers.CharField(  # type: ignore[assignment]
        max_length=50 * MOST_LABEL, required=False, allow_null=True, allow_blank=True
    )
    split = serializers.ChoiceField(choices=SPLITS, required=False)
    text = serializers.CharField(max_length=MOST_TEXT, required=False, trim_whitespace=False)


@registry.register
class Edit(operation.Operation):
    key = "edit"
    label = "Change rows"
    summary = "Change the labels, splits or texts of single rows, or leave them out."

    class Options(operation.Options):
        changes = serializers.ListField(
            child=Change(), allow_empty=False, max_length=MOST_CHANGES, help_text="One a row."
        )

    has_form: ClassVar[bool] = False
    can_be_tried: ClassVar[bool] = True

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        seen: set[int] = set()
        for change in options["changes"]:
            row_id = change["row_id"]
            if row_id >= version.rows:
                raise operation.refuse("changes", f"{version.reference} has no row {row_id}.")
            if row_id in seen:
                raise operation.refuse("changes", f"Row {row_id} is changed twice.")
            seen.add(row_id)
            if change.get("text") is not None and version.input_column != "text":
                raise operation.refuse("changes", "Only rows of text have a text to change.")
            if change.get("label"):
                _stored_label(version, change["label"], row_id)
            if "text" in change and not change["text"].strip():
                raise operation.refuse("changes", f"The text of row {row_id} would be empty.")

    def told(self, options: Mapping[str, Any]) -> str:
        changes = options["changes"]
        out = sum(bool(one.get("leave_out")) for one in changes)
        parts = [
            (out, "left out"),
            (sum("label" in one and not one.get("leave_out") for one in changes), "relabelled"),
            (sum("split" in one and not one.get("leave_out") for one in changes), "moved"),
            (sum("text" in one and not one.get("leave_out") for one in changes), "rewritten"),
        ]
        said = ", ".join(f"{many} {word}" for many, word in parts if many)
        return f"Changed {len(changes)} rows: {said}" if said else f"Changed {len(changes)} rows"

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        changes = {one["row_id"]: one for one in options["changes"]}
        for row in parent.rows():
            change = changes.get(row["row_id"])
            if change is None:
                yield row
                continue
            if change.get("leave_out"):
                continue
            if "label" in change:
                row["label"] = _stored_label(parent.version, change["label"] or "", row["row_id"])
            for name in ("split", "text"):
                if name in change:
                    row[name] = change[name]
            yield row


def _stored_label(version: DatasetVersion, label: str, row_id: int) -> str | None:
    """As it is stored. Raises Invalid."""
    try:
        return label_values.stored(version, label)
    except label_values.NoLabel as error:
        raise operation.refuse("changes", f"{error} row {row_id}.") from None
