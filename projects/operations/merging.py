"""The rows of several versions, one after the other."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest import restored
from projects.models import DatasetVersion
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow

MOST_VERSIONS = 20


@registry.register
class Merge(operation.Operation):
    key = "merge"
    label = "Merge"
    summary = "Add the rows of other versions or datasets of the same task."

    class Options(operation.Options):
        versions = serializers.ListField(
            child=serializers.CharField(max_length=130),
            allow_empty=False,
            max_length=MOST_VERSIONS,
            style={"of": "versions"},
            help_text="Of this project, as `name@3`.",
        )

    can_be_tried: ClassVar[bool] = True

    def others(self, options: Mapping[str, Any]) -> list[str]:
        return list(options["versions"])

    def naming(self, options: Mapping[str, Any], references: list[str]) -> dict[str, Any]:
        return {**options, "versions": references}

    def check_other(
        self, version: DatasetVersion, other: DatasetVersion, options: Mapping[str, Any]
    ) -> None:
        _refuse_unlike(version, other)

    def told(self, options: Mapping[str, Any]) -> str:
        return f"Added the rows of {', '.join(options['versions'])}"

    def columns(self, parents: list[Parent], options: Mapping[str, Any]) -> list[dict[str, str]]:
        """Those of the first, then the kept columns that only others have."""
        found = list(parents[0].version.columns)
        names = {one["name"] for one in found}
        for parent in parents[1:]:
            for one in parent.version.columns:
                if one["role"] in restored.KEPT and one["name"] not in names:
                    names.add(one["name"])
                    found.append(one)
        return found

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int:
        return sum(parent.version.rows for parent in parents)

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        for parent in parents:
            yield from parent.rows()


def _refuse_unlike(version: DatasetVersion, other: DatasetVersion) -> None:
    """Raises Invalid for a version whose rows cannot stand among those of the first."""
    if other.dataset.task != version.dataset.task or other.problem != version.problem:
        raise operation.refuse(
            "versions",
            f"{other.reference} is for {other.dataset.task} ({other.problem}), {version.reference} "
            f"for {version.dataset.task} ({version.problem}).",
        )
    if version.separator != other.separator:
        raise operation.refuse("versions", f"{other.reference} parts its labels differently.")
    kept = restored.KEPT
    own = [(one["name"], one["role"]) for one in version.columns if one["role"] not in kept]
    its = [(one["name"], one["role"]) for one in other.columns if one["role"] not in kept]
    if own != its:
        raise operation.refuse("versions", f"{other.reference} has other columns to learn from.")
    types = {one["name"]: one["type"] for one in version.columns}
    for one in other.columns:
        if types.get(one["name"], one["type"]) != one["type"]:
            raise operation.refuse(
                "versions", f"The column {one['name']} of {other.reference} is of another type."
            )
