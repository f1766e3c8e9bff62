"""Language models of transformers, drawn at random from a configuration.

Options carry the names of the library's own configuration; the defaults are small enough for a CPU.
Any other key of that configuration may be given too, and is tried when the model is inspected.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, Size, transformers_models
from training.engine.students.language_options import Tokens

JSON = dict[str, Any]
OWN = ("tokenizer", "vocabulary", "max_length", "stride", "end_token", "attention")


@dataclass(frozen=True, slots=True)
class Attending(Tokens):
    attention: str = option(
        "sdpa",
        choices=("sdpa", "eager"),
        help="sdpa: PyTorch's fused attention. eager: its parts one by one, which terms that look "
        "at attention need, and take by themselves.",
    )
    tie_word_embeddings: bool = option(
        True, label="Share embeddings", help="The last layer is the embedding turned round."
    )


@dataclass(frozen=True, slots=True)
class Decoder(Attending):
    hidden_size: int = option(128, minimum=4, maximum=16_384, label="Width", help="Of every layer.")
    num_hidden_layers: int = option(2, minimum=1, maximum=128, label="Layers", help="Blocks.")
    num_attention_heads: int = option(
        4, minimum=1, maximum=128, label="Heads", help="Must divide the width."
    )
    intermediate_size: int = option(
        344,
        minimum=4,
        maximum=65_536,
        label="Inner width",
        help="Usually 2.7 to 4 times as wide.",
    )


@dataclass(frozen=True, slots=True)
class GPT2(Attending):
    n_embd: int = option(128, minimum=4, maximum=16_384, label="Width", help="Of every layer.")
    n_layer: int = option(2, minimum=1, maximum=128, label="Layers", help="Blocks.")
    n_head: int = option(4, minimum=1, maximum=128, label="Heads", help="Must divide the width.")


class TransformersGeneration(Architecture):
    kind = "transformers"
    open = True
    tasks = ("text-generation",)
    recommended: ClassVar[JSON] = {"epochs": 10, "batch_size": 32, "learning_rate": 2e-3}
    recommended_trained: ClassVar[JSON] = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-4}

    @classmethod
    def build(cls, options: JSON, shape: Shape) -> nn.Module:
        values = {name: value for name, value in options.items() if name not in OWN}
        special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}
        if "num_attention_heads" in values:  # Llama and its kin default to the large models' number
            values.setdefault("num_key_value_heads", values["num_attention_heads"])
            if "head_dim" not in values:  # and Qwen 3 to a fixed width of a head
                values["head_dim"] = values["hidden_size"] // values["num_attention_heads"]
        return transformers_models.build(
            transformers_models.model_type_of(cls.key),
            "text-generation",
            {
                **special,
                "max_position_embeddings": shape.max_length,
                **values,
                "vocab_size": shape.vocabulary,
                "attn_implementation": options["attention"],
            },
        )


LABELS = {
    "gpt2": ("GPT-2", "Radford et al., 2019"),
    "gpt_neox": ("GPT-NeoX", "Black et al., 2204.06745"),
    "llama": ("Llama", "Touvron et al., 2302.13971"),
    "mistral": ("Mistral", "Jiang et al., 2310.06825"),
    "phi": ("Phi", "Li et al., 2309.05463"),
    "qwen2": ("Qwen2", "Yang et al., 2407.10671"),
    "qwen3": ("Qwen3", "Yang et al., 2505.09388"),
}
CHARACTERS: JSON = {"tokenizer": "character", "vocabulary": 128}
SIZES = {
    "gpt2": (
        Size(
            "tiny", "Tiny, by characters", 20_960,
            {**CHARACTERS, "n_embd": 32, "n_layer": 1, "n_head": 2},
        ),
        Size("small", "Small, by characters", 248_448, {**CHARACTERS, "n_embd": 96, "n_layer": 2}),
        Size(
            "teacher", "Teacher-size", 1_833_728,
            {"vocabulary": 8000, "n_embd": 128, "n_layer": 4},
        ),
    ),
}  # fmt: skip


def _sizes(key: str) -> tuple[Size, ...]:
    return SIZES.get(key, ())


def _declare(kind: str) -> type[TransformersGeneration]:
    label, paper = LABELS[kind]
    summary = f"{label} as transformers builds it to write, with random weights."
    return type(
        label.replace(" ", "").replace("-", "") + "Generation",
        (TransformersGeneration,),
        {
            "key": transformers_models.key_of(kind, "text-generation"),
            "label": label,
            "summary": summary,
            "paper": paper,
            "shows": transformers_models.shows(kind),
            "Options": GPT2 if kind == "gpt2" else Decoder,
            "sizes": _sizes(kind),
            "__doc__": summary,
        },
    )


for _kind in transformers_models.GENERATION:
    ARCHITECTURES.register(_declare(_kind))
