"""How a network is fed: its inputs by name, in a fixed order, and which of their sizes vary."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from training.engine.data import Batch
from training.engine.exporters import Rows
from training.engine.language import LanguagePreprocessing
from training.engine.networks import Network


class Answering(nn.Module):
    """A network's module with the scale of its numbers: what it answers is what is meant."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.module, self.scale = network.module, network.scale

    def forward(self, **inputs: Tensor) -> Tensor:
        logits: Tensor = self.module(**inputs)
        if self.scale != (0.0, 1.0):
            logits = logits * self.scale[1] + self.scale[0]
        return logits


class Ordered(nn.Module):
    """The same, with inputs in order, as a traced graph wants them."""

    def __init__(self, network: Network, names: tuple[str, ...]) -> None:
        super().__init__()
        self.answering, self.names = Answering(network), names

    def forward(self, *inputs: Tensor) -> Tensor:
        logits: Tensor = self.answering(**dict(zip(self.names, inputs, strict=True)))
        return logits


@dataclass(frozen=True, slots=True)
class Fed:
    """An example of a batch, and of each input the sizes that vary, by axis."""

    example: Batch
    axes: dict[str, dict[int, str]]
    least: int = 1  # places that there always are: convolutions need some samples of a sound

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.example)

    def small(self) -> list[Batch]:
        """The example cut to one row, and to the fewest places and one more: a graph that was
        traced of a larger one may have taken for granted that it is not so small."""
        free = any(1 in axes for axes in self.axes.values())
        least = self.least
        cuts = [(1, least), (1, least + 1), (3, least)] if free else [(1, 0)]
        return [
            {
                name: value[:rows, :length] if 1 in self.axes[name] else value[:rows]
                for name, value in self.example.items()
            }
            for rows, length in cuts
        ]


def writes(network: Network) -> bool:
    """Whether it answers logits of the next token after each place."""
    return isinstance(network.preprocessing, LanguagePreprocessing)


def fed(network: Network, rows: Rows) -> Fed:
    """Learnt from a batch of the three longest of the first training rows: sizes of 0 and 1 are
    what tracers take for constants. A network that writes is fed no mask: no place looks at those
    behind it, and padding stands behind."""
    some = rows.training[:200]
    lengths = rows.inputs.lengths
    if lengths is not None:
        some = some[np.argsort(-lengths[some], kind="stable")]
    batch = rows.inputs.batch(np.resize(some[:3], 3))
    unfed = ("targets", "attention_mask") if writes(network) else ("targets",)
    example = {name: value for name, value in batch.items() if name not in unfed}
    axes = {
        name: {0: "batch", 1: "length"} if lengths is not None and value.ndim > 1 else {0: "batch"}
        for name, value in example.items()
    }
    return Fed(example, axes, least=getattr(network.preprocessing, "minimum", 1))
