import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from training.engine import options as opt
from training.engine.errors import ConfigError, Fault
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, Size
from training.engine.students.language_options import Tokens


@dataclass(frozen=True, slots=True)
class Options(Tokens):
    dim: int = option(64, minimum=1, maximum=4096, label="Width", help="Numbers per embedding.")
    hidden: int = option(256, minimum=1, maximum=8192, help="Numbers it remembers, per layer.")
    layers: int = option(1, minimum=1, maximum=16, help="One above the other.")
    dropout: float = option(
        0.0, minimum=0.0, maximum=0.95, help="Of what goes into a layer, and into the last one."
    )
    tied: bool = option(
        False,
        label="Share embeddings",
        help="The last layer is the embedding turned round; wants equal widths, and saves weights "
        "where the vocabulary is large.",
    )


class Recurrent(nn.Module):
    """One GRU whose output is a plain tensor."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(before, width, batch_first=True)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> Tensor:
        """inputs: `[batch, time, before]`; state: `[batch, width]`. Answers its state after each
        place, `[batch, time, width]`."""
        begun = None if state is None else state.unsqueeze(0).contiguous()
        said: Tensor = self.gru(inputs, begun)[0]
        return said


class GRULanguageModel(nn.Module):
    """The next token from a memory of fixed size: a token costs the same however long the text."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__()
        self.embedding = nn.Embedding(shape.vocabulary, options.dim)
        widths = [options.dim, *[options.hidden] * options.layers]
        self.layers = nn.ModuleList(
            Recurrent(before, width) for before, width in itertools.pairwise(widths)
        )
        self.points = tuple(f"layers.{place}" for place in range(options.layers))
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.hidden, shape.vocabulary)
        if options.tied:
            self.head.weight = self.embedding.weight

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, *, headless: bool = False
    ) -> Tensor:
        """input_ids: `[batch, time]`, padded behind. Logits `[batch, time, vocabulary]`; headless,
        what stands before the last layer, `[batch, time, hidden]`."""
        said = self.embedding(input_ids)
        for layer in self.layers:
            said = layer(self.dropout(said))
        said = self.dropout(said)
        if not headless:
            said = self.head(said)
        return said  # type: ignore[no-any-return]

    def last(self) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of the last layer."""
        return self.head.weight, self.head.bias

    def begin(self, input_ids: Tensor, lengths: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits after each prompt, `[batch, vocabulary]`, and what it remembers of it. Prompts are
        padded behind; lengths: `[batch]`."""
        rows = torch.arange(len(input_ids), device=input_ids.device)
        said = self.embedding(input_ids)
        memory = []
        for layer in self.layers:
            said = layer(said)
            memory.append(said[rows, lengths - 1])
        return self.head(memory[-1]), memory

    def go_on(self, ids: Tensor, memory: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The same after one more token of each row, `[batch]`."""
        said = self.embedding(ids).unsqueeze(1)
        kept = []
        for layer, state in zip(self.layers, memory, strict=True):
            said = layer(said, state)
            kept.append(said[:, 0])
        return self.head(kept[-1]), kept


@ARCHITECTURES.register
class GRUArchitecture(Architecture):
    key = "gru_language_model"
    label = "GRU"
    summary = "A recurrent network that writes token by token: tiny, steady, quick on any CPU."
    paper = "Cho et al.: Learning Phrase Representations using RNN Encoder-Decoder, 1406.1078"
    tasks = ("text-generation",)
    default_for = ("text-generation",)
    sizes = (
        Size(
            "tiny", "Tiny, by characters", 28_672,
            {"tokenizer": "character", "vocabulary": 128, "dim": 24, "hidden": 64},
        ),
        Size(
            "small", "Small, by characters", 288_384,
            {"tokenizer": "character", "vocabulary": 128, "dim": 64, "hidden": 256},
        ),
        Size(
            "teacher", "Teacher-size", 2_450_752,
            {"vocabulary": 8000, "dim": 256, "hidden": 256, "tied": True},
        ),
    )  # fmt: skip
    recommended: ClassVar[dict[str, Any]] = {
        "epochs": 10,
        "batch_size": 32,
        "learning_rate": 4e-3,
        "weight_decay": 0.0,
    }
    recommended_trained: ClassVar[dict[str, Any]] = {
        "epochs": 5,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
    }
    Options: ClassVar[type] = Options

    @classmethod
    def build(cls, options: dict[str, Any], shape: Shape) -> nn.Module:
        chosen = opt.build(Options, options)
        if chosen.tied and chosen.dim != chosen.hidden:
            sentence = "Shared embeddings want equal widths: set dim and hidden to one number."
            raise ConfigError([Fault("config.tied", sentence)])
        return GRULanguageModel(chosen, shape)
