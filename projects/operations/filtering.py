"""Keep the rows that conditions hold for, or all others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from distillhub.lib.later import np
from projects.ingest import page
from projects.ingest.checks import personal
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

    can_be_tried: ClassVar[bool] = True
    mends: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
        "missing_label": ("Leave them out", {"unlabelled": True, "leave_out": True}),
    } | {
        code: ("Leave them out", {"issue": code, "leave_out": True})
        for code in (
            "other_language",
            "unusual_length",
            "unusual_number",
            "plain_picture",
            "silent_sound",
            "suspected_label",
            "similar_conflict",
            *personal.KINDS,
        )
    }

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if conditions.filter_of(version, options).is_empty:
            raise operation.refuse("split", "Give at least one condition.")

    def told(self, options: Mapping[str, Any]) -> str:
        verb = "Left out rows" if options["leave_out"] else "Kept rows"
        return f"{verb} {conditions.told(options)}"

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int:
        fitting = len(_matching(parents[0], options))
        return parents[0].version.rows - fitting if options["leave_out"] else fitting

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        fitting = set(_matching(parent, options).tolist())
        for row in parent.rows():
            if (row["row_id"] in fitting) != options["leave_out"]:
                yield row


def _matching(parent: Parent, options: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    with parent.open() as stream:
        return page.matching(stream, conditions.filter_of(parent.version, options))
