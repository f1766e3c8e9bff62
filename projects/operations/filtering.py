"""Keep the rows that conditions hold for, or all others."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest import page
from projects.models import DatasetVersion
from projects.operations import conditions, operation, registry
from projects.operations.operation import Parent, StoredRow


@registry.register
class Filter(operation.Operation):
    key = "filter"
    label = "Filter"
    summary = "Keep the rows that conditions hold for, or leave them out."

    class Options(conditions.Conditions):
        leave_out = serializers.BooleanField(
            default=False, help_text="Leave the rows out that the conditions hold for."
        )

    divides: ClassVar[bool] = False

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if conditions.filter_of(version, options).is_empty:
            raise operation.refuse("split", "Give at least one condition.")

    def told(self, options: Mapping[str, Any]) -> str:
        verb = "Left out rows" if options["leave_out"] else "Kept rows"
        return f"{verb} {conditions.told(options)}"

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        wanted = conditions.filter_of(parent.version, options)
        with parent.path.open("rb") as stream:
            fitting = set(page.matching(stream, wanted).tolist())
        for row in parent.rows():
            if (row["row_id"] in fitting) != options["leave_out"]:
                yield row
