"""Layers whose weights are whole numbers of 8 or 4 bits, with a scale for each row, or, of 4 bits,
for each group of 32 in a row (as Q-BERT groups them, 1909.05840). They compute in floats.

They stand in a network's configuration with the other altered layers: `{name: {"bits": 8}}`.
"""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.engine.errors import ModelError

GROUP = 32  # neighbouring weights of a row that share a scale, where they have 4 bits
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding
TURNED = "Conv1D"  # what transformers calls a linear layer that keeps `[inputs, outputs]`
KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding)


class FewBits(nn.Module):
    """A layer whose weight is whole numbers and scales, made floats again when it is used.

    codes: `[rows, columns]`, int8; with 4 bits two in a byte, uint8 `[rows, ceil(columns / 2)]`.
    scales: `[rows, groups]`, float32. A row is an output of a linear layer or a convolution, or a
    row of a table.
    """

    codes: Tensor
    scales: Tensor
    bias: Tensor | None

    def __init__(self, layer: Layer, bits: int) -> None:
        super().__init__()
        self.bits = bits
        self.kind = type(layer).__name__
        # GPT-2's layers, whose rows are columns.
        self.turned = self.kind == TURNED
        weight = layer.weight.detach().T if self.turned else layer.weight.detach()
        self.shape = tuple(weight.shape)
        self.stride = getattr(layer, "stride", None)
        self.padding = getattr(layer, "padding", None)
        self.dilation = getattr(layer, "dilation", None)
        self.groups = getattr(layer, "groups", 1)
        self.rows, self.columns = self.shape[0], weight[0].numel()
        grouped = bits == 4 and self.columns % GROUP == 0
        self.group = GROUP if grouped else self.columns
        codes, scales = self._rounded(weight)
        self.register_buffer("codes", codes)
        self.register_buffer("scales", scales)
        # Kept as it was, and trained by nobody: the layers around would go on, and these not.
        own = getattr(layer, "bias", None)
        self.register_buffer("bias", None if own is None else own.detach().clone())

    def _rounded(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        most = 2 ** (self.bits - 1) - 1  # symmetric: -127 to 127, or -7 to 7
        parts = weight.float().reshape(self.rows, -1, self.group)
        scales = (parts.abs().amax(dim=2) / most).clamp_min(1e-12)
        codes = (parts / scales.unsqueeze(2)).round().clamp(-most, most)
        codes = codes.reshape(self.rows, self.columns).to(torch.int8)
        return (_packed(codes) if self.bits == 4 else codes), scales

    @property
    def weight(self) -> Tensor:
        """Floats, in the shape of the layer that was replaced."""
        codes = _unpacked(self.codes, self.columns) if self.bits == 4 else self.codes
        floats = self._floats(codes, self.scales).reshape(self.shape)
        return floats.T if self.turned else floats

    def _floats(self, codes: Tensor, scales: Tensor) -> Tensor:
        if self.group == self.columns:
            return codes.float() * scales
        grouped = codes.float().reshape(*codes.shape[:-1], -1, self.group)
        return (grouped * scales.unsqueeze(-1)).flatten(-2)

    def forward(self, inputs: Tensor) -> Tensor:
        if self.kind == "Embedding":  # only the rows that are asked for
            codes = F.embedding(inputs, self.codes)
            if self.bits == 4:
                codes = _unpacked(codes, self.columns)
            return self._floats(codes, F.embedding(inputs, self.scales))
        if self.kind == "Linear":
            return F.linear(inputs, self.weight, self.bias)
        if self.turned:
            return F.linear(inputs, self.weight.T, self.bias)
        convolve: Callable[..., Tensor] = F.conv1d if self.kind == "Conv1d" else F.conv2d
        return convolve(
            inputs, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )


def of(layer: nn.Module, bits: int) -> FewBits:
    """The layer with rounded weights. Raises ModelError."""
    if not rounds(layer) or bits not in (4, 8):
        raise ModelError(f"A {type(layer).__name__} cannot have weights of {bits} bits.")
    return FewBits(cast(Layer, layer), bits)


def rounds(layer: nn.Module) -> bool:
    """Whether it is a layer of a kind that can have few bits."""
    return type(layer) in KINDS or type(layer).__name__ == TURNED


def _packed(codes: Tensor) -> Tensor:
    """Two codes of -7 to 7 in a byte: the even columns low, the odd ones high."""
    if codes.shape[1] % 2:
        codes = F.pad(codes, (0, 1))
    shifted = (codes + 8).to(torch.uint8)
    return shifted[:, 0::2] | (shifted[:, 1::2] << 4)


def _unpacked(packed: Tensor, columns: int) -> Tensor:
    """int32 `[..., columns]`: ONNX has no shifts of bytes, and division keeps to whole numbers."""
    wide = packed.to(torch.int32)
    high = torch.div(wide, 16, rounding_mode="floor")
    both = torch.stack([wide - high * 16, high], dim=-1).flatten(-2)
    return both[..., :columns] - 8


def count(module: nn.Module) -> int:
    """Weights, each counted once however often it is used, and whatever it is held in."""
    floats = sum(one.numel() for one in module.parameters())
    few = [one for one in module.modules() if isinstance(one, FewBits)]
    held = sum(one.rows * one.columns for one in few)
    return floats + held + sum(one.bias.numel() for one in few if one.bias is not None)


def is_rounded(module: nn.Module) -> bool:
    """Whether some of its layers are of few bits."""
    return any(isinstance(one, FewBits) for one in module.modules())
