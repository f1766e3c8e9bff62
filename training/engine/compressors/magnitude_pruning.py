from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from training.engine.compressors import COMPRESSORS, Compressed, Compressor, Material, tuning
from training.engine.errors import ModelError
from training.engine.few_bits import is_rounded
from training.engine.networks import Network
from training.engine.options import option


@dataclass(frozen=True)
class Zeros:
    share: float = option(0.5, minimum=0.0, maximum=0.99, help="Of the weights that become 0.")
    scope: str = option(
        "network",
        choices=("network", "layer"),
        help="The smallest of the whole network, or the same share of each layer.",
    )


@dataclass(frozen=True)
class Options(tuning.Options, Zeros):
    """Which weights, then how the others are trained."""


@COMPRESSORS.register
class MagnitudePruning(Compressor):
    """Zeros are weights that are not there, but they are stored and multiplied with all the same:
    nothing is faster, and the file is smaller only once it is packed."""

    key = "magnitude-pruning"
    label = "Magnitude pruning"
    summary = (
        "The smallest weights become 0 and stay 0 while the others are trained. A zip of it is "
        "smaller; it is not faster."
    )
    formula = "W ← W · (|W| > threshold)"
    paper = "Han et al.: Learning both Weights and Connections, 1506.02626, section 3"
    trains = True
    Options: ClassVar[type] = Options

    def compress(self, network: Network, material: Material) -> Compressed:
        if is_rounded(network.module):
            raise ModelError("Its weights are whole numbers already; prune what it was made from.")
        matrices = [one for one in network.module.parameters() if one.ndim > 1]
        masks = self._masks(matrices)

        def keep_zeros() -> None:
            for matrix, mask in zip(matrices, masks, strict=True):
                matrix.mul_(mask.to(matrix.device))

        with torch.no_grad():
            keep_zeros()
        told = tuning.tune(network, material, self.options, keep_zeros)
        zeros = sum(int((one == 0).sum()) for one in matrices)
        share = zeros / sum(one.numel() for one in matrices)
        return Compressed(network, f"{100 * share:.1f} % of the weights in matrices are 0. {told}")

    def _masks(self, matrices: list[torch.nn.Parameter]) -> list[Tensor]:
        sizes = [one.detach().abs() for one in matrices]
        if self.options.scope == "layer":
            return [one > _threshold(one.flatten(), self.options.share) for one in sizes]
        at = _threshold(torch.cat([one.flatten() for one in sizes]), self.options.share)
        return [one > at for one in sizes]


def _threshold(sizes: Tensor, share: float) -> Tensor:
    """At or below which so many lie."""
    least = round(share * len(sizes))
    if not least:
        return sizes.new_tensor(-1.0)
    return sizes.kthvalue(least).values
