"""Encoders of transformers that make a vector of a text, drawn at random from a configuration."""

from typing import Any

from torch import nn

from training.engine.students import ARCHITECTURES, Shape, transformers_models
from training.engine.students.transformers_text import LABELS, OPTIONS, Encoder, TransformersText

JSON = dict[str, Any]


class TransformersEmbedding(TransformersText):
    tasks = ("feature-extraction",)

    @classmethod
    def width(cls, options: JSON) -> int:
        return int(options.get("hidden_size") or options["dim"])

    @classmethod
    def build(cls, options: JSON, shape: Shape) -> nn.Module:
        values = cls.values(options, shape)
        del values["num_labels"]
        return transformers_models.build(
            transformers_models.model_type_of(cls.key), "feature-extraction", values
        )


def _declare(kind: str) -> type[TransformersEmbedding]:
    label, paper = LABELS[kind]
    summary = f"{label} with the mean of its last layer as the vector of a text, at random."
    return type(
        label.replace(" ", "").replace("-", "") + "Embedding",
        (TransformersEmbedding,),
        {
            "key": transformers_models.key_of(kind, "feature-extraction"),
            "label": label,
            "summary": summary,
            "paper": paper,
            "shows": transformers_models.shows(kind),
            "Options": OPTIONS.get(kind, Encoder),
            "__doc__": summary,
        },
    )


for _kind in transformers_models.EMBEDDING:
    ARCHITECTURES.register(_declare(_kind))
