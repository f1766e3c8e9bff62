from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from training.engine import options as opt
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, Size
from training.engine.students.text_options import Words


@dataclass(frozen=True, slots=True)
class Options(Words):
    dim: int = option(64, minimum=1, maximum=4096, label="Width", help="Numbers per embedding.")
    filters: int = option(64, minimum=1, maximum=4096, help="Filters of each window.")
    windows: tuple[int, ...] = option(
        (2, 3, 4), minimum=1, maximum=32, help="How many neighbouring tokens a filter sees."
    )
    dropout: float = option(0.3, minimum=0.0, maximum=0.95, help="Before the last layer.")


class TextCNN(nn.Module):
    """Filters over windows of tokens, the strongest answer of each, then one linear layer."""

    points = ("dropout",)

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__()
        self.widest = max(options.windows)
        self.embedding = nn.Embedding(shape.vocabulary, options.dim, padding_idx=0)
        self.filters = nn.ModuleList(
            nn.Conv1d(options.dim, options.filters, window) for window in options.windows
        )
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(options.filters * len(options.windows), shape.classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """input_ids: `[batch, length]`, 0 where padded.

        Every text is padded by the widest window, and windows that only see padding are left out,
        so that a row's logits do not depend on the rows beside it.
        """
        lengths = (input_ids > 0).sum(dim=1, keepdim=True)
        ids = nn.functional.pad(input_ids, (0, self.widest))
        hidden = self.embedding(ids).transpose(1, 2)  # [batch, dim, length]
        found = []
        for convolution in self.filters:
            answer = torch.relu(convolution(hidden))  # [batch, filters, places]
            places = torch.arange(answer.shape[2], device=ids.device)
            inside = (places < lengths.clamp(min=1)).unsqueeze(1)
            found.append(answer.masked_fill(~inside, 0.0).amax(dim=2))
        logits: Tensor = self.head(self.dropout(torch.cat(found, dim=1)))
        return logits


@ARCHITECTURES.register
class TextCNNArchitecture(Architecture):
    key = "text_cnn"
    label = "Text CNN"
    summary = "Filters over neighbouring words: sees short phrases, quick on a CPU."
    paper = "Kim: Convolutional Neural Networks for Sentence Classification, 1408.5882"
    tasks = ("text-classification",)
    recommended: ClassVar[dict[str, Any]] = {"epochs": 15, "learning_rate": 1e-3}
    sizes = (
        Size("tiny", "Tiny", 50_842, {"vocabulary": 3000, "dim": 16, "filters": 16}),
        Size("small", "Small", 550_986, {"vocabulary": 8000, "dim": 64, "filters": 64}),
        Size(
            "teacher", "Teacher-size", 3_158_282, {"vocabulary": 10_000, "dim": 256, "filters": 256}
        ),
    )
    layers = 1
    Options: ClassVar[type] = Options

    @classmethod
    def build(cls, options: dict[str, Any], shape: Shape) -> nn.Module:
        return TextCNN(opt.build(Options, options), shape)
