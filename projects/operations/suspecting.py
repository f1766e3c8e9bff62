"""Give rows the labels that a quick model suspects to be right."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from projects.models import DatasetVersion
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow

CODE = "suspected_label"


@registry.register
class TakeSuggestions(operation.Operation):
    key = "suggested_labels"
    label = "Take suspected labels over"
    summary = (
        "Rows whose label is probably wrong get the one that a quick model found. It often errs: "
        "look at the rows first, and change those that are wrong one by one where you can."
    )

    can_be_tried: ClassVar[bool] = True
    mends: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
        CODE: ("Take the suspected labels over", {}),
    }

    def suits(self, version: DatasetVersion) -> bool:
        return any(one["code"] == CODE for one in version.issues)

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if not self.suits(version):
            raise operation.refuse("operation", "No label of this version is suspected.")

    def told(self, options: Mapping[str, Any]) -> str:
        return "Gave rows with suspected labels the ones that a quick model found"

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        better = parent.version.better_labels
        for row in parent.rows():
            label = better.get(row["row_id"])
            yield row if label is None else row | {"label": label}
