"""Give labels other names; two that get one name become one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest.formats import MOST_LABEL, MULTI, REGRESSION, TOKENS_TASK
from projects.models import DatasetVersion
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow


@registry.register
class Relabel(operation.Operation):
    key = "relabel"
    label = "Rename labels"
    summary = "Give labels other names, join labels into one, or take a label from its rows."

    class Options(operation.Options):
        labels = serializers.DictField(
            child=serializers.CharField(max_length=MOST_LABEL, allow_null=True, allow_blank=True),
            allow_empty=False,
            style={"as": "labels"},
            help_text="From old names to new ones; an empty one takes the label away.",
        )

    can_be_tried: ClassVar[bool] = True

    def suits(self, version: DatasetVersion) -> bool:
        return version.problem != REGRESSION and bool(version.labels)

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int:
        return parents[0].version.rows

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if version.problem == REGRESSION or not version.labels:
            raise operation.refuse("labels", "The labels of this dataset are no classes.")
        known = set(version.labels)
        unknown = [name for name in options["labels"] if name not in known]
        if unknown:
            raise operation.refuse("labels", f"There is no label {unknown[0]!r} in this version.")
        for name in filter(None, options["labels"].values()):
            if version.separator and version.separator in name:
                raise operation.refuse("labels", f"{name!r} holds what parts labels here.")
            if version.dataset.task == TOKENS_TASK and name.split() != [name]:
                raise operation.refuse("labels", f"{name!r} is no tag: it holds a blank.")

    def told(self, options: Mapping[str, Any]) -> str:
        first = [f"{old} → {new or 'none'}" for old, new in list(options["labels"].items())[:5]]
        more = len(options["labels"]) - len(first)
        return f"Renamed labels: {', '.join(first)}" + (f" and {more} more" if more else "")

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        names = {old: (new or "").strip() for old, new in options["labels"].items()}
        separator = parent.version.separator if parent.version.problem == MULTI else ""
        if parent.version.dataset.task == TOKENS_TASK:
            separator = " "
            names = {old: new or "?" for old, new in names.items()}
        for row in parent.rows():
            label = row["label"]
            if label is not None:
                parts = label.split(separator) if separator else [label]
                said = [names.get(one, one) for one in parts]
                if separator == parent.version.separator:
                    said = sorted({one for one in said if one})
                row["label"] = separator.join(said) or None
            yield row
