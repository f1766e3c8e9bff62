"""Leave out rows whose input stands in an earlier row, and those that leak between splits."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest import restored
from projects.ingest.formats import SPLITS
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow


@registry.register
class Deduplicate(operation.Operation):
    key = "deduplicate"
    label = "Deduplicate"
    summary = (
        "Leave out rows whose input also stands elsewhere: the first row stays, a row of train "
        "before one of validation or test."
    )

    class Options(operation.Options):
        within = serializers.ChoiceField(
            choices=[
                ("everywhere", "Wherever they stand"),
                ("splits", "Only within one split"),
                ("leaks", "Only between splits: leave the row of train out"),
            ],
            default="everywhere",
            help_text="Of leaks the row of train is left out, so that the test stays as it is.",
        )

    can_be_tried: ClassVar[bool] = True
    mends: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
        "duplicate": ("Leave duplicates out", {}),
        "near_duplicate": ("Leave duplicates out", {}),
        "repeated_row": ("Leave duplicates out", {}),
        "leak": ("Leave the rows of train out", {"within": "leaks"}),
    }

    def told(self, options: Mapping[str, Any]) -> str:
        if options["within"] == "leaks":
            return "Left out rows of train that also stand in validation or test"
        inside = " within each split" if options["within"] == "splits" else ""
        return f"Left out duplicates{inside}"

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        columns = parent.version.columns
        within = options["within"]
        # The row that stays of each key: by the order of splits, then of rows.
        order = {name: place for place, name in enumerate(SPLITS)}
        if within == "leaks":
            order = {name: -place for place, name in enumerate(SPLITS)}
        best: dict[tuple[str, bytes], tuple[int, int]] = {}
        met: list[tuple[tuple[str, bytes], tuple[int, int]]] = []
        for row in parent.rows():
            key = (row["split"] if within == "splits" else "", restored.row(row, columns).key)
            rank = (order[row["split"]], row["row_id"])
            met.append((key, rank))
            best[key] = min(rank, best.get(key, rank))
        for row, (key, rank) in zip(parent.rows(), met, strict=True):
            if rank == best[key] or (within == "leaks" and rank[0] == best[key][0]):
                yield row
