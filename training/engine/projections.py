"""Linear maps from the widths of a student's layers to those of its teacher's.

They are trained with the student, kept in its checkpoints, and forgotten when it is saved.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from training.engine.layer_pairs import Pairs


def projection(narrow: int, wide: int, always: bool) -> nn.Module:
    """Nothing at all where widths agree, unless one is `always` wanted. Drawn on the CPU from
    torch's generator, so that a seed gives the same one on every device."""
    return nn.Linear(narrow, wide) if always or narrow != wide else nn.Identity()


class Projections(nn.Module):
    """One projection for each pair of layers, and the pairs themselves: a resumed run goes on with
    those it began with, even where a first batch would now propose others."""

    layers: Tensor

    def __init__(
        self, pairs: Pairs, widths: Sequence[tuple[int, int]], *, always: bool = False
    ) -> None:
        super().__init__()
        self.pairs = pairs
        self.maps = nn.ModuleList(projection(narrow, wide, always) for narrow, wide in widths)
        self.register_buffer("layers", torch.tensor(pairs, dtype=torch.int64))

    def forward(self, layer: Tensor, place: int) -> Tensor:
        """The student's layer of the pair at this place, in the teacher's width."""
        mapped: Tensor = self.maps[place](layer)
        return mapped

    def _load_from_state_dict(
        self, state_dict: Mapping[str, Any], prefix: str, *others: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *others)
        self.pairs = tuple((int(one), int(two)) for one, two in self.layers.tolist())
