"""Keep some rows, drawn by chance: of each label its share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from distillhub.lib.later import Later, np
from projects.ingest.formats import SPLITS
from projects.models import DatasetVersion
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow

pq = Later("pyarrow.parquet")


@registry.register
class Sample(operation.Operation):
    key = "sample"
    label = "Sample"
    summary = "Keep some rows of a split, drawn by chance; other splits stay whole."

    class Options(operation.Options):
        rows = serializers.IntegerField(
            min_value=1, max_value=2**40, required=False, help_text="How many rows to keep."
        )
        share = serializers.FloatField(
            min_value=0.0, max_value=1.0, required=False, help_text="Or which share, 0 to 1."
        )
        per_label = serializers.IntegerField(
            min_value=1, max_value=2**40, required=False, help_text="Or how many of each label."
        )
        split = serializers.ChoiceField(
            choices=[*SPLITS, "all"], default="train", help_text="The split that is thinned."
        )
        seed = serializers.IntegerField(min_value=0, max_value=2**32 - 1, default=0)

    can_be_tried: ClassVar[bool] = True

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        given = [name for name in ("rows", "share", "per_label") if options.get(name) is not None]
        if len(given) != 1:
            raise operation.refuse("rows", "Give one of rows, share and per_label.")
        if options["split"] != "all" and options["split"] not in version.splits:
            has = ", ".join(version.splits)
            raise operation.refuse("split", f"There is no such split; there are {has}.")
        if given == ["per_label"] and not version.labels:
            raise operation.refuse("per_label", "This dataset has no classes.")

    def told(self, options: Mapping[str, Any]) -> str:
        where = "all splits" if options["split"] == "all" else options["split"]
        if (share := options.get("share")) is not None:
            return f"Kept {share:.0%} of {where}, drawn with seed {options['seed']}"
        if (each := options.get("per_label")) is not None:
            return f"Kept {each} rows a label of {where}, drawn with seed {options['seed']}"
        return f"Kept {options['rows']} rows of {where}, drawn with seed {options['seed']}"

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int:
        return int(_chosen(parents[0], options).sum())

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        drawn = _chosen(parent, options)
        for row in parent.rows():
            if drawn[row["row_id"]]:
                yield row


def _chosen(parent: Parent, options: Mapping[str, Any]) -> np.ndarray[Any, Any]:
    with parent.open() as stream:
        table = pq.read_table(stream, columns=["split", "label"])
    return _drawn(
        np.asarray(table["split"].to_pylist(), dtype=object),
        np.asarray([label or "" for label in table["label"].to_pylist()], dtype=object),
        options,
    )


def _drawn(
    splits: np.ndarray[Any, Any], labels: np.ndarray[Any, Any], options: Mapping[str, Any]
) -> np.ndarray[Any, Any]:
    """Whether each row is kept: every label gets its share, rounded so that the whole is right."""
    thinned = (
        np.ones(len(splits), bool) if options["split"] == "all" else splits == options["split"]
    )
    rows = np.flatnonzero(thinned)
    kept = ~thinned
    rng = np.random.default_rng(options["seed"])
    members = {
        label: rng.permutation(rows[labels[rows] == label]) for label in np.unique(labels[rows])
    }
    if (each := options.get("per_label")) is not None:
        for label, drawn in members.items():
            if label:
                kept[drawn[:each]] = True
        return kept
    share = options.get("share")
    wanted = min(len(rows), options["rows"] if share is None else round(share * len(rows)))
    owed = 0.0
    for drawn in members.values():
        owed += wanted * len(drawn) / len(rows)
        take = round(owed)
        owed -= take
        kept[drawn[:take]] = True
    return kept
