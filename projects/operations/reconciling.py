"""Settle rows that have one input and different labels."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest import restored
from projects.ingest.formats import UNLABELLED
from projects.models import DatasetVersion
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow


@registry.register
class Reconcile(operation.Operation):
    key = "reconcile"
    label = "Settle conflicting labels"
    summary = "Rows with one input and different labels: leave them out, or have the commonest win."

    class Options(operation.Options):
        how = serializers.ChoiceField(
            choices=[
                ("leave_out", "Leave all of them out"),
                ("majority", "Give each the commonest label; where none is, leave them out"),
            ],
            default="leave_out",
        )

    can_be_tried: ClassVar[bool] = True
    mends: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
        "conflicting_labels": ("Leave them out", {}),
    }

    def suits(self, version: DatasetVersion) -> bool:
        return version.dataset.task not in UNLABELLED

    def told(self, options: Mapping[str, Any]) -> str:
        if options["how"] == "majority":
            return "Gave rows with conflicting labels the commonest one"
        return "Left out rows with conflicting labels"

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        columns = parent.version.columns
        said: dict[bytes, str | Counter[str]] = {}  # a label alone takes less memory than a counter
        keys: list[bytes] = []
        for row in parent.rows():
            key, label = restored.row(row, columns).key, row["label"]
            keys.append(key)
            if label is None:
                continue
            known = said.setdefault(key, label)
            if isinstance(known, Counter):
                known[label] += 1
            elif known != label:
                said[key] = Counter({known: 1, label: 1})
        # Those that conflict are counted anew: of the others nobody knows how often they stand.
        counts = {key: Counter[str]() for key, one in said.items() if isinstance(one, Counter)}
        for row, key in zip(parent.rows(), keys, strict=True):
            if key in counts and row["label"] is not None:
                counts[key][row["label"]] += 1
        for row, key in zip(parent.rows(), keys, strict=True):
            if key not in counts or row["label"] is None:
                yield row
                continue
            (winner, most), (_, second) = counts[key].most_common(2)
            if options["how"] == "majority" and most > second:
                yield row | {"label": winner}
