import itertools
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from training.engine import options as opt
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, Size


@dataclass(frozen=True, slots=True)
class Options:
    hidden: tuple[int, ...] = option(
        (128, 64), minimum=1, maximum=16_384, help="Width of each layer before the last."
    )
    embedding: int = option(
        16,
        minimum=1,
        maximum=1024,
        label="Widest embedding",
        help="Numbers that stand for a word: half as many as its column has words, at most these.",
    )
    most_categories: int = option(
        1000,
        minimum=1,
        maximum=1_000_000,
        label="Most words",
        help="Of one column; rarer ones count as unknown.",
    )
    dropout: float = option(0.1, minimum=0.0, maximum=0.95, help="After each layer.")


class TabularMLP(nn.Module):
    """Each word as its embedding, beside the numbers, through plain layers."""

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__()
        sizes = [(ids, min(options.embedding, -(-ids // 2))) for ids in shape.categories]
        self.embeddings = nn.ModuleList(nn.Embedding(ids, width) for ids, width in sizes)
        widths = [shape.numbers + sum(width for _, width in sizes), *options.hidden]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(options.dropout)]
        self.layers = nn.Sequential(*layers)
        self.points = tuple(f"layers.{place}" for place in range(1, len(layers), 3))
        self.head = nn.Linear(widths[-1], shape.classes)

    def forward(self, numbers: Tensor | None = None, categories: Tensor | None = None) -> Tensor:
        """numbers: `[batch, numbers]`, standardised; categories: `[batch, columns]`, ids."""
        parts = [] if numbers is None else [numbers]
        if categories is not None:
            columns = categories.unbind(dim=1)
            parts += [
                embedding(ids) for embedding, ids in zip(self.embeddings, columns, strict=True)
            ]
        logits: Tensor = self.head(self.layers(torch.cat(parts, dim=1)))
        return logits


@ARCHITECTURES.register
class TabularMLPArchitecture(Architecture):
    key = "tabular_mlp"
    label = "Tabular MLP"
    summary = "Embeddings of words beside standardised numbers, through plain layers."
    paper = "Guo, Berkhahn: Entity Embeddings of Categorical Variables, 1604.06737"
    tasks = ("tabular-classification",)
    default_for = ("tabular-classification",)
    sizes = (
        Size("tiny", "Tiny", 378, {"hidden": [8], "embedding": 2}),
        Size("small", "Small", 14_514, {}),
        Size("teacher", "Teacher-size", 186_866, {"hidden": [512, 256, 128], "embedding": 32}),
    )
    recommended: ClassVar[dict[str, Any]] = {"epochs": 20, "learning_rate": 1e-3}
    layers = "hidden"
    Options: ClassVar[type] = Options

    @classmethod
    def build(cls, options: dict[str, Any], shape: Shape) -> nn.Module:
        return TabularMLP(opt.build(Options, options), shape)
