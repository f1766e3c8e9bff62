from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from training.engine.alterations import is_transposed
from training.engine.compressors import COMPRESSORS, Compressed, Compressor, Material, tuning
from training.engine.errors import ModelError
from training.engine.networks import Network

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding)
MOST = 127


@COMPRESSORS.register
class QuantisationAware(Compressor):
    """While it is trained, weights and what flows into each layer are rounded to 8 bits and back,
    as the graph will round them; gradients pass through as if they had not been (Bengio et al.,
    1308.3432). What comes out lies on the grid that rounding will find."""

    key = "quantisation-aware"
    label = "Quantisation-aware training"
    summary = (
        "Trains on with everything rounded to 8 bits, so that the int8 forms lose less. With the "
        "teacher where there is one."
    )
    formula = "W ← scale · round(W / scale), ∂ as if it were W"
    paper = "Polino et al.: Model compression via distillation and quantization, 1802.05668"
    formats = ("onnx-int8", "onnx-int8-static")
    trains = True
    Options: ClassVar[type] = tuning.Options

    def compress(self, network: Network, material: Material) -> Compressed:
        layers = [
            one for one in network.module.modules() if type(one) in WEIGHTED or is_transposed(one)
        ]
        if not layers:
            raise ModelError("It has no matrices, tables or convolutions to round.")
        hooks = []
        for layer in layers:
            parametrize.register_parametrization(layer, "weight", _Rounded(layer))
            if not isinstance(layer, nn.Embedding):
                hooks.append(layer.register_forward_pre_hook(_round_inputs))
        try:
            told = tuning.tune(network, material, self.options)
        finally:
            for hook in hooks:
                hook.remove()
            for layer in layers:
                parametrize.remove_parametrizations(layer, "weight", leave_parametrized=True)
        return Compressed(network, told)


class _Rounded(nn.Module):
    """A weight on the grid of int8: a scale for each output, or one for a whole table."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.by_row = not isinstance(layer, nn.Embedding)
        self.axis = int(is_transposed(layer))  # of the outputs

    def forward(self, weight: Tensor) -> Tensor:
        sizes = weight.detach().abs()
        most = sizes.transpose(0, self.axis).flatten(1).amax(dim=1) if self.by_row else sizes.max()
        scale = (most / MOST).clamp_min(1e-12)
        if not self.by_row:
            zero = torch.zeros(1, dtype=torch.int32, device=weight.device)
            return torch.fake_quantize_per_tensor_affine(
                weight, scale.reshape(1), zero, -MOST, MOST
            )
        zeros = torch.zeros(len(scale), dtype=torch.int32, device=weight.device)
        return torch.fake_quantize_per_channel_affine(weight, scale, zeros, self.axis, -MOST, MOST)


def _round_inputs(layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """What flows in, on the grid of the batch's own range, which holds 0."""
    first, *others = inputs
    first = first.float()  # a layer before it may have answered in bfloat16
    low = first.detach().amin().clamp(max=0.0)
    high = first.detach().amax().clamp(min=0.0)
    scale = ((high - low) / 255.0).clamp_min(1e-12)
    zero = (-low / scale).round().clamp(0, 255).to(torch.int32)
    rounded = torch.fake_quantize_per_tensor_affine(
        first, scale.reshape(1), zero.reshape(1), 0, 255
    )
    return (rounded, *others)
