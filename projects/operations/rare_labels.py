"""Deal with labels that too few training rows have."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest.formats import MOST_LABEL, MULTI, REGRESSION, TOKENS_TASK, TRAIN
from projects.ingest.issues import RARE
from projects.models import DatasetVersion
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow


@registry.register
class RareLabels(operation.Operation):
    key = "rare_labels"
    label = "Leave out rare labels"
    summary = (
        "Labels that too few rows of train have: leave their rows out, or join them into one label."
    )

    class Options(operation.Options):
        fewest = serializers.IntegerField(
            min_value=1,
            max_value=1_000_000,
            default=RARE,
            label="Fewest rows",
            help_text="A label with fewer rows of train is rare.",
        )
        join = serializers.CharField(
            max_length=MOST_LABEL,
            required=False,
            label="Join into",
            help_text="One label for all of them, such as other. Unless given, rows go.",
        )

    can_be_tried: ClassVar[bool] = True
    mends: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
        "rare_label": ("Leave them out", {}),
        "unseen_label": ("Leave them out", {"fewest": 1}),
    }

    def suits(self, version: DatasetVersion) -> bool:
        has_classes = version.problem != REGRESSION and bool(version.labels)
        return has_classes and version.dataset.task != TOKENS_TASK

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        if not self.suits(version):
            raise operation.refuse("fewest", "The labels of this dataset are no classes of rows.")
        if not _rare(version, options):
            few = options["fewest"]
            raise operation.refuse("fewest", f"Every label has at least {few} rows of train.")
        if version.separator and version.separator in options.get("join", ""):
            raise operation.refuse("join", "It holds what parts labels here.")

    def told(self, options: Mapping[str, Any]) -> str:
        few = f"labels with fewer than {options['fewest']} rows of train"
        return f"Joined {few} into {options['join']}" if options.get("join") else f"Left out {few}"

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        version = parent.version
        rare, joined = _rare(version, options), options.get("join")
        separator = version.separator if version.problem == MULTI else ""
        for row in parent.rows():
            label = row["label"]
            parts = label.split(separator) if label and separator else [label]
            if not rare.intersection(parts):
                yield row
            elif joined:
                said = {joined if one in rare else one for one in parts}
                yield row | {"label": separator.join(sorted(said))}
            elif len(parts) > 1 and (left := [one for one in parts if one not in rare]):
                yield row | {"label": separator.join(left)}


def _rare(version: DatasetVersion, options: Mapping[str, Any]) -> set[str]:
    counts = version.splits.get(TRAIN, {}).get("label_counts", {})
    return {name for name in version.labels if counts.get(name, 0) < options["fewest"]}
