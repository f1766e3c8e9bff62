from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from training.engine.schemes import SCHEMES, Scheme
from training.engine.schemes.joining import Joined, join


@SCHEMES.register
class Offline(Scheme):
    """Frozen teachers. Their outputs do not change, so they are asked once and stored."""

    key = "offline"
    label = "Offline"
    summary = "One or several frozen teachers; several are averaged by their probabilities."
    formula = "t = log Σ wᵢ · softmax(tᵢ),  Σ wᵢ = 1;  one teacher: its own logits"
    paper = "Hinton, Vinyals, Dean, 1503.02531"
    Options: ClassVar[type] = Joined

    @property
    def route_column(self) -> str:
        return self.options.route_column if self.options.combine == "route" else ""

    def join(
        self, said: Sequence[Tensor], weights: Sequence[float], labels: Tensor, route: Tensor | None
    ) -> Tensor:
        return join(self.options, said, weights, labels, route)
