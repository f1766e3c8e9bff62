"""Encoders of transformers that answer for every token, drawn at random from a configuration."""

from typing import Any

from torch import nn

from training.engine.students import ARCHITECTURES, Shape, transformers_models
from training.engine.students.transformers_text import LABELS, OPTIONS, Encoder, TransformersText

JSON = dict[str, Any]


class TransformersTokens(TransformersText):
    tasks = ("token-classification",)

    @classmethod
    def build(cls, options: JSON, shape: Shape) -> nn.Module:
        return transformers_models.build(
            transformers_models.model_type_of(cls.key),
            "token-classification",
            cls.values(options, shape),
        )


def _declare(kind: str) -> type[TransformersTokens]:
    label, paper = LABELS[kind]
    summary = f"{label} with an answer for every token, from any configuration, at random."
    return type(
        label.replace(" ", "").replace("-", "") + "Tokens",
        (TransformersTokens,),
        {
            "key": transformers_models.key_of(kind, "token-classification"),
            "label": label,
            "summary": summary,
            "paper": paper,
            "shows": transformers_models.shows(kind),
            "Options": OPTIONS.get(kind, Encoder),
            "__doc__": summary,
        },
    )


for _kind in transformers_models.TOKENS:
    ARCHITECTURES.register(_declare(_kind))
