from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from training.engine import options as opt
from training.engine.options import option
from training.engine.students import ARCHITECTURES, Architecture, Shape, Size
from training.engine.students.text_options import Words


@dataclass(frozen=True, slots=True)
class Options(Words):
    dim: int = option(64, minimum=1, maximum=4096, label="Width", help="Numbers per embedding.")
    hidden: int = option(64, minimum=1, maximum=4096, help="Of each direction, in every layer.")
    layers: int = option(1, minimum=1, maximum=8, help="One above the other.")
    dropout: float = option(0.3, minimum=0.0, maximum=0.95, help="Before the last layer.")


class BiLSTM(nn.Module):
    """Reads a text from both ends; answers for every token, or once for the whole text."""

    points = ("dropout",)

    def __init__(self, options: Options, shape: Shape) -> None:
        super().__init__()
        self.by_token = shape.by_token
        self.embedding = nn.Embedding(shape.vocabulary, options.dim, padding_idx=0)
        self.lstm = nn.LSTM(
            options.dim, options.hidden, options.layers, batch_first=True, bidirectional=True
        )
        self.dropout = nn.Dropout(options.dropout)
        self.head = nn.Linear(2 * options.hidden, shape.classes)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """input_ids: `[batch, length]`, 0 where padded. Logits `[batch, length, classes]`, or
        `[batch, classes]` of the strongest answer of each feature."""
        inside = input_ids > 0 if attention_mask is None else attention_mask.bool()
        lengths = inside.sum(dim=1).clamp(min=1)
        packed = pack_padded_sequence(
            self.embedding(input_ids), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        hidden, _ = pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=input_ids.shape[1]
        )
        if not self.by_token:
            places = torch.arange(input_ids.shape[1], device=input_ids.device)
            real = (places < lengths.unsqueeze(1)).unsqueeze(-1)
            hidden = hidden.masked_fill(~real, -torch.inf).amax(dim=1)
        logits: Tensor = self.head(self.dropout(hidden))
        return logits


@ARCHITECTURES.register
class BiLSTMArchitecture(Architecture):
    key = "bilstm"
    label = "BiLSTM"
    summary = "Reads a text forwards and backwards: labels of words, and texts whose order counts."
    paper = "Graves, Schmidhuber: Framewise phoneme classification with bidirectional LSTM, 2005"
    tasks = ("text-classification", "token-classification")
    default_for = ("token-classification",)
    recommended: ClassVar[dict[str, Any]] = {"epochs": 15, "batch_size": 32, "learning_rate": 2e-3}
    sizes = (
        Size("tiny", "Tiny", 52_682, {"vocabulary": 3000, "dim": 16, "hidden": 16}),
        Size("small", "Small", 579_850, {"vocabulary": 8000, "dim": 64, "hidden": 64}),
        Size(
            "teacher", "Teacher-size", 3_617_802, {"vocabulary": 10_000, "dim": 256, "hidden": 256}
        ),
    )
    layers = 1
    Options: ClassVar[type] = Options

    @classmethod
    def build(cls, options: dict[str, Any], shape: Shape) -> nn.Module:
        return BiLSTM(opt.build(Options, options), shape)
