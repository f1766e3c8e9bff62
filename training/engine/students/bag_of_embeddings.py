from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.engine import options as opt
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, Size
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
    dropout: float = option(0.3, minimum=0.0, maximum=0.95, help="Of the text's mean embedding.")
    word_dropout: float = option(
        0.1,
        minimum=0.0,
        maximum=0.9,
        help="Share of words left out in training, anew each time, so that no word decides alone.",
    )


GAIN = 90.0  # found on banking77 and sms_spam for widths 8 to 1024


class Bag(nn.Module):
    """Mean of the embeddings of a text's tokens (and hashed pairs), then one linear layer.

    Weights are stored small and multiplied by constants: the mean by GAIN, the answer by GAIN over
    the square root of the width. An optimizer that takes steps of one size for every weight, as
    Adam does, then moves logits as far as it does in any other network, and the usual learning rate
    of 0.0005 suits every width (the idea of maximal update parametrisation, 2203.03466).
    """

    points = ("dropout",)

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__()
        self.vocabulary, self.bigrams = shape.vocabulary, options.bigrams
        self.word_dropout = options.word_dropout
        self.embedding = nn.Embedding(shape.vocabulary + options.bigrams, options.dim)
        nn.init.normal_(self.embedding.weight, std=1.0 / GAIN)
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.dim, shape.classes)
        self.head_gain = GAIN / options.dim**0.5
        with torch.no_grad():
            self.embedding.weight[0].zero_()
            self.head.weight.div_(self.head_gain)
            self.head.bias.zero_()

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """input_ids: `[batch, length]`, 0 where padded."""
        ids = input_ids
        if self.training and self.word_dropout:
            ids = ids.masked_fill(torch.rand_like(ids, dtype=torch.float32) < self.word_dropout, 0)
        if self.bigrams:
            ids = torch.cat([ids, self._pairs(ids)], dim=1)
        logits: Tensor = self.head(self.dropout(self._mean(ids) * GAIN)) * self.head_gain
        return logits

    def _mean(self, ids: Tensor) -> Tensor:
        """`[batch, width]`, over the tokens that are no padding."""
        table: nn.Module = self.embedding  # low rank and few bits put others in its place
        if isinstance(table, nn.Embedding) and not torch.compiler.is_exporting():
            return F.embedding_bag(ids, table.weight, mode="mean", padding_idx=0)
        # In a traced graph the bag would become a loop over rows, thirty times as slow.
        inside = (ids > 0).unsqueeze(2)
        total: Tensor = (self.embedding(ids) * inside).sum(dim=1)
        return total / inside.sum(dim=1).clamp(min=1)

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
    tasks = ("text-classification", "feature-extraction")
    default_for = ("text-classification", "feature-extraction")
    sizes = (
        Size("tiny", "Tiny", 22_570, {"vocabulary": 1400, "dim": 16, "dropout": 0.1}),
        Size("small", "Small", 256_330, {"vocabulary": 8000, "dim": 32}),
        Size("teacher", "Teacher-size", 2_562_570, {"vocabulary": 10_000, "dim": 256}),
    )
    recommended: ClassVar[dict[str, Any]] = {"epochs": 15}
    recommended_trained: ClassVar[dict[str, Any]] = {"epochs": 10, "learning_rate": 2e-4}
    layers = 1
    Options: ClassVar[type] = Options

    @classmethod
    def build(cls, options: dict[str, Any], shape: Shape) -> nn.Module:
        return Bag(opt.build(Options, options), shape)
