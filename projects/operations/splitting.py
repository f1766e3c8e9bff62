"""Divide the rows anew into train, validation and test."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from rest_framework import serializers

from projects.ingest.formats import SPLITS, TRAIN
from projects.models import DatasetVersion
from projects.operations import operation, registry
from projects.operations.operation import Parent, StoredRow

NEARLY = 1e-6


@registry.register
class Split(operation.Operation):
    key = "split"
    label = "Divide anew"
    summary = "Divide the rows into train, validation and test, stratified by label."
    divides: ClassVar[bool] = True
    can_be_tried: ClassVar[bool] = True
    mends: ClassVar[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
        "no_train_rows": ("Divide anew", {"keep_test": False}),
        "group_leak": ("Divide anew", {"keep_test": False}),
    }

    class Options(operation.Options):
        train = serializers.FloatField(min_value=0.0, max_value=1.0, default=0.8)
        validation = serializers.FloatField(min_value=0.0, max_value=1.0, default=0.1)
        test = serializers.FloatField(min_value=0.0, max_value=1.0, default=0.1)
        keep_test = serializers.BooleanField(
            default=True, help_text="Rows of the test split stay in it; the others are divided."
        )
        seed = serializers.IntegerField(min_value=0, max_value=2**32 - 1, default=0)

    def check(self, version: DatasetVersion, options: Mapping[str, Any]) -> None:
        whole = sum(options[name] for name in SPLITS)
        if abs(whole - 1) > NEARLY:
            raise operation.refuse("train", f"The shares make {whole:.0%}; they must make 100%.")
        if not options[TRAIN]:
            raise operation.refuse("train", "Some rows must be there to train on.")

    def told(self, options: Mapping[str, Any]) -> str:
        parts = ", ".join(f"{options[name]:.0%} {name}" for name in SPLITS if options[name])
        kept = ", test kept" if options["keep_test"] else ""
        return f"Divided anew: {parts}{kept}, seed {options['seed']}"

    def reading(self, version: DatasetVersion, options: Mapping[str, Any]) -> dict[str, Any]:
        shares = {name: options[name] for name in SPLITS}
        if options["keep_test"] and "test" in version.splits:
            rest = shares["train"] + shares["validation"]
            shares = {"train": shares["train"] / rest, "validation": shares["validation"] / rest}
        return {"splits": shares, "seed": options["seed"]}

    def count(self, parents: Sequence[Parent], options: Mapping[str, Any]) -> int:
        return parents[0].version.rows

    def rows(self, parents: list[Parent], options: Mapping[str, Any]) -> Iterator[StoredRow]:
        (parent,) = parents
        for row in parent.rows():
            stays = options["keep_test"] and row["split"] == "test"
            yield row if stays else row | {"split": None}
