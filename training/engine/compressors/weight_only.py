import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from training.engine import alterations, features, few_bits
from training.engine.compressors import COMPRESSORS, Compressed, Compressor, Material
from training.engine.errors import ModelError
from training.engine.networks import Network
from training.engine.options import option

SMALLEST = 256  # weights: smaller layers would gain nothing


@dataclass(frozen=True, slots=True)
class Options:
    bits: str = option(
        "8",
        choices=("8", "4"),
        help="Of each weight. 8 seldom change an answer; 4 are an eighth of the size.",
    )


@COMPRESSORS.register
class WeightOnly(Compressor):
    """Rounding to the nearest, symmetric about 0; the last layer, which decides, stays as it is.
    Arithmetic stays in floats, so the file shrinks and the speed stays; the folder still opens
    here, though it cannot be trained further."""

    key = "weight-only"
    label = "Weights in few bits"
    summary = (
        "A quarter or an eighth of the size: weights are stored as whole numbers, and computed "
        "with as floats. For files that travel; not faster."
    )
    formula = "W ≈ scale · q, q of 8 or 4 bits, a scale for each row or 32 weights"
    paper = "Shen et al.: Q-BERT, 1909.05840 (groups of weights)"
    formats = ("safetensors", "onnx", "torch-export")
    Options: ClassVar[type] = Options

    def compress(self, network: Network, material: Material) -> Compressed:
        bits = int(self.options.bits)
        last = features.last_layer(network.module)
        decides = last.get_parameter("weight")
        layers = [
            (name, layer)
            for name, layer in network.module.named_modules()
            if few_bits.rounds(layer)
            and layer.weight is not decides  # the last layer, or the table that it is turned round
            and layer.weight.numel() >= SMALLEST
            and getattr(layer, "padding_mode", "zeros") == "zeros"
        ]
        if not layers:
            raise ModelError(
                f"No layer of it that can be rounded has {SMALLEST} weights, so there is nothing "
                "to gain. Ship it as it is."
            )
        altered = {}
        for name, layer in layers:
            alterations.replace(network.module, name, few_bits.of(layer, bits))
            altered[name] = {"bits": bits}
        before = alterations.of(network.config)
        config = {
            **network.config,
            alterations.ALTERED: alterations.joined(before, altered),
        }
        smaller = dataclasses.replace(network, config=config)
        count = "1 layer has" if len(layers) == 1 else f"{len(layers)} layers have"
        return Compressed(smaller, f"{count} weights of {bits} bits.")
