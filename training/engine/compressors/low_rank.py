from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from training.engine import derivations
from training.engine.compressors import COMPRESSORS, Compressed, Compressor, Material, tuning
from training.engine.errors import ModelError
from training.engine.few_bits import is_rounded
from training.engine.networks import Network
from training.engine.options import option


@dataclass(frozen=True)
class Rank:
    share: float = option(
        0.25,
        minimum=0.01,
        maximum=0.9,
        label="Rank",
        help="As a share of a layer's smaller side. A square layer shrinks below a half.",
    )


@dataclass(frozen=True)
class Options(tuning.Options, Rank):
    """The rank, then how the rest is trained."""


@COMPRESSORS.register
class LowRank(Compressor):
    key = "low-rank"
    label = "Low rank"
    summary = (
        "Every matrix becomes the product of two thin ones, by its singular values, and is trained "
        "a little. The folder opens here; for other programs ship it as ONNX."
    )
    formula = "W ≈ (U √S) (√S Vᵀ), the largest singular values only"
    paper = "Denton et al.: Exploiting Linear Structure Within Convolutional Networks, 1404.0736"
    refusals: ClassVar[Mapping[str, str]] = derivations.DERIVATIONS["low_rank"].refused()
    trains = True
    Options: ClassVar[type] = Options

    def compress(self, network: Network, material: Material) -> Compressed:
        if is_rounded(network.module):
            raise ModelError(
                "Its weights are whole numbers already; compress what it was made from."
            )
        material.say("Taking matrices apart")
        found = derivations.derive(
            "low_rank", {"share": self.options.share}, network, name=network.name
        )
        told = tuning.tune(found.network, material, self.options)
        return Compressed(found.network, f"It has {found.said}. {told}")
