"""The form of a new export between two requests: the form it is shipped in, what is done before,
and the options of both."""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from distillhub.lib.errors import DomainError
from projects.models import DatasetVersion, ModelVersion
from training import catalog
from training.forms import fields
from training.services import exports

OFFERED = 100  # versions listed
USUAL = "onnx"  # what is chosen at first
#: The order of the cards: what runs anywhere first.
FAMILIAR = ("onnx", "bundle", "onnx-int8", "onnx-int8-static", "safetensors", "torch-export")


class ExportDraft:
    """Texts as they were typed."""

    def __init__(self, version: ModelVersion, texts: Mapping[str, str]) -> None:
        self.version = version
        self.texts = dict(texts)
        self.faults: dict[str, list[str]] = {}
        self.is_open = bool(texts)
        chosen = texts.get("format", "")
        known = [one["key"] for one in self.formats]
        self.format = chosen if chosen in known else (USUAL if USUAL in known else known[0])
        kind = texts.get("compress", "")
        self.kind = kind if kind in {one["key"] for one in self.compressors} else ""

    @cached_property
    def formats(self) -> list[Mapping[str, Any]]:
        task = self.version.model.task
        fitting = [one for one in catalog.methods()["exporters"] if task in one["tasks"]]
        return sorted(
            fitting,
            key=lambda one: (
                FAMILIAR.index(one["key"]) if one["key"] in FAMILIAR else len(FAMILIAR),
                one["label"],
            ),
        )

    @property
    def compressors(self) -> list[Mapping[str, Any]]:
        """What may be done before this form is written."""
        task = self.version.model.task
        return [
            one
            for one in catalog.methods()["compressors"]
            if self.format in one["formats"] and task in one["tasks"]
        ]

    @property
    def chosen(self) -> Mapping[str, Any]:
        return next(one for one in self.formats if one["key"] == self.format)

    @property
    def compressor(self) -> Mapping[str, Any] | None:
        return next((one for one in self.compressors if one["key"] == self.kind), None)

    @property
    def options(self) -> list[fields.OptionField]:
        texts = fields.under("options", self.texts)
        return fields.shown(self.chosen["options"], texts, at="options", faults=self.faults)

    @property
    def compress_options(self) -> list[fields.OptionField]:
        if self.compressor is None:
            return []
        texts = fields.under("compress.options", self.texts)
        return fields.shown(
            self.compressor["options"], texts, at="compress.options", faults=self.faults
        )

    @property
    def changes(self) -> bool:
        """Whether an option of the form is not at its default, or faulty."""
        return any(one.is_changed or one.errors for one in self.options)

    @cached_property
    def suggested(self) -> tuple[DatasetVersion | None, ModelVersion | None]:
        return exports.suggested(version=self.version)

    @property
    def dataset(self) -> str:
        """The reference that is chosen."""
        suited = self.suggested[0]
        return self.texts.get("dataset", suited.reference if suited else "")

    @property
    def teacher(self) -> str:
        suited = self.suggested[1]
        return self.texts.get("teacher", suited.reference if suited else "")

    @property
    def datasets(self) -> list[DatasetVersion]:
        model = self.version.model
        return list(
            DatasetVersion.objects.ready()
            .filter(dataset__project=model.project_id, dataset__task=model.task)
            .select_related("dataset")
            .order_by("-pk")[:OFFERED]
        )

    @property
    def teachers(self) -> list[ModelVersion]:
        model = self.version.model
        found = (
            ModelVersion.objects.ready()
            .filter(model__project=model.project_id, model__task=model.task)
            .exclude(files=[])
            .select_related("model")
            .order_by("-pk")[:OFFERED]
        )
        return [one for one in found if one.is_trained]

    def asked(self) -> dict[str, Any]:
        """What is asked of `exports.make`."""
        asked: dict[str, Any] = {
            "format": self.format,
            "options": fields.read(self.chosen["options"], fields.under("options", self.texts)),
        }
        if self.dataset:
            asked["dataset"] = self.dataset
        if self.compressor is not None:
            typed = fields.under("compress.options", self.texts)
            asked["compress"] = {
                "kind": self.kind,
                "options": fields.read(self.compressor["options"], typed),
            }
            if self.compressor["trains"] and self.teacher:
                asked["teacher"] = self.teacher
        return asked

    def refuse(self, error: DomainError) -> None:
        self.faults = {name: list(sentences) for name, sentences in error.fields.items()}
        self.faults = self.faults or {"": [error.detail]}

    @property
    def loose_faults(self) -> list[str]:
        """Sentences that belong to no field of this page."""
        shown = {one.name for one in (*self.options, *self.compress_options)}
        shown |= {"dataset", "teacher", "format", "compress.kind"}
        return [" ".join(sentences) for name, sentences in self.faults.items() if name not in shown]
