from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.engine import options as opt
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape
from training.engine.students.text_options import Words


@dataclass(frozen=True, slots=True)
class Options(Words):
    dim: int = option(64, minimum=1, maximum=4096, label="Width", help="Numbers per embedding.")
    bigrams: int = option(
        0,
        minimum=0,
        maximum=4_000_000,
        label="Buckets for pairs of words",
        help="Neighbouring tokens are hashed into this many more embeddings; 0 for none.",
    )
    dropout: float = option(0.2, minimum=0.0, maximum=0.95, help="Of the text's mean embedding.")


class Bag(nn.Module):
    """Mean of the embeddings of a text's tokens (and hashed pairs), then one linear layer.

    The mean is multiplied by the square root of the width, as transformers multiply theirs
    (1706.03762, section 3.4): an optimizer that takes steps of one size for every weight, as Adam
    does, would otherwise need a learning rate ten times higher here than anywhere else.
    """

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__()
        self.vocabulary, self.bigrams = shape.vocabulary, options.bigrams
        self.embedding = nn.Embedding(shape.vocabulary + options.bigrams, options.dim)
        nn.init.normal_(self.embedding.weight, std=options.dim**-0.5)
        with torch.no_grad():
            self.embedding.weight[0].zero_()
        self.gain = options.dim**0.5
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.dim, shape.classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """input_ids: `[batch, length]`, 0 where padded."""
        ids = input_ids
        if self.bigrams:
            ids = torch.cat([ids, self._pairs(input_ids)], dim=1)
        mean = F.embedding_bag(ids, self.embedding.weight, mode="mean", padding_idx=0)
        logits: Tensor = self.head(self.dropout(mean * self.gain))
        return logits

    def _pairs(self, ids: Tensor) -> Tensor:
        """`[batch, length - 1]`: the bucket of each pair of neighbours, 0 where one is padding."""
        left, right = ids[:, :-1], ids[:, 1:]
        bucket = (left * 1_000_003 + right * 7919) % 2_147_483_647 % self.bigrams
        return torch.where((left > 0) & (right > 0), bucket + self.vocabulary, 0)


@ARCHITECTURES.register
class BagOfEmbeddings(Architecture):
    key = "bag_of_embeddings"
    label = "Bag of embeddings"
    summary = "The mean of a text's word embeddings: tiny, instant on any CPU, hard to beat."
    paper = "Joulin et al.: Bag of Tricks for Efficient Text Classification, 1607.01759"
    tasks = ("text-classification",)
    default_for = ("text-classification",)
    recommended: ClassVar[dict[str, Any]] = {"epochs": 10, "learning_rate": 5e-3}
    recommended_trained: ClassVar[dict[str, Any]] = {"epochs": 10, "learning_rate": 2e-3}
    Options: ClassVar[type] = Options

    @classmethod
    def build(cls, options: dict[str, Any], shape: Shape) -> nn.Module:
        return Bag(opt.build(Options, options), shape)
