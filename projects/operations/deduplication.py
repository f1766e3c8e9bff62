"""Leave out rows whose input stands in an earlier row, and those that leak between splits."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rest_framework import serializers

from distillhub.lib.later import np
from projects.ingest import equal_keys, near, restored
from projects.ingest.checks import near_rows
from projects.ingest.formats import SPLITS
from projects.models import DatasetVersion
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

        near = serializers.BooleanField(
            default=False,
            label="Near duplicates, too",
            help_text="Also texts with 80 % of the same pairs of words, and pictures that look the "
            "same.",
        )

    can_be_tried: ClassVar[bool] = True
    mends: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
        "duplicate": ("Leave duplicates out", {}),
        "near_duplicate": ("Leave duplicates out", {}),
        "repeated_row": ("Leave duplicates out", {}),
        "leak": ("Leave the rows of train out", {"within": "leaks"}),
        "similar_input": ("Leave near duplicates out", {"near": True}),
        "similar_leak": ("Leave the rows of train out", {"within": "leaks", "near": True}),
    }

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if options["near"] and version.input_column not in ("text", "image"):
            raise operation.refuse("near", "Only texts and pictures are compared for being near.")

    def told(self, options: Mapping[str, Any]) -> str:
        if options["within"] == "leaks":
            also = "nearly" if options["near"] else "also"
            return f"Left out rows of train that {also} stand in validation or test"
        if options["near"]:
            inside = " within each split" if options["within"] == "splits" else ""
            return f"Left out near duplicates{inside}"
        inside = " within each split" if options["within"] == "splits" else ""
        return f"Left out duplicates{inside}"

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        within = options["within"]
        # The row that stays of each group: by the order of splits, then of rows.
        order = {name: place for place, name in enumerate(SPLITS)}
        if within == "leaks":
            order = {name: -place for place, name in enumerate(SPLITS)}
        groups, splits = _grouped(parent, nearly=options["near"])
        ranks = np.array([order[name] for name in SPLITS])[splits]
        parts = groups * len(SPLITS) + splits if within == "splits" else groups
        of_part = np.unique(parts, return_inverse=True)[1]
        best = np.full(int(of_part.max(initial=-1)) + 1, len(SPLITS))
        np.minimum.at(best, of_part, ranks)
        if within == "leaks":
            stays = ranks == best[of_part]
        else:
            leads = np.lexsort((np.arange(len(ranks)), ranks, of_part))
            stays = np.zeros(len(ranks), dtype=bool)
            stays[leads[np.unique(of_part[leads], return_index=True)[1]]] = True
        for row, stay in zip(parent.rows(), stays, strict=True):
            if stay:
                yield row


def _grouped(parent: Parent, *, nearly: bool) -> tuple[near.Rows, near.Rows]:
    """([rows]: equal for rows of which one is to stay, [rows]: indices of SPLITS)."""
    version = parent.version
    nearness = near.of(version.input_column) if nearly else None
    has_prompt = bool(version.column_of("prompt"))
    keys, splits = array("q"), array("b")
    try:
        for row in parent.rows():
            read = restored.row(row, version.columns)
            keys.append(int.from_bytes(read.key, "little", signed=True))
            splits.append(SPLITS.index(row["split"]))
            if nearness is not None:
                nearness.add(near_rows.compared(read.input, has_prompt=has_prompt))
        told = np.frombuffer(keys, dtype=np.int64)
        found = equal_keys.grouped(told)[0] if nearness is None else nearness.groups(told)
        return found.astype(np.int64), np.frombuffer(splits, dtype=np.int8)
    finally:
        if nearness is not None:
            nearness.close()
