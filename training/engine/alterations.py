"""Layers whose shape an architecture's configuration cannot say: factorised ones, ones with fewer
inputs or outputs than it asks for, and ones whose weights have few bits.

They stand in a network's configuration under `altered`, by the layer's name:
`{"model.encoder.layer.0.output.dense": {"rank": 32}}`, `{..: {"inputs": 96, "outputs": 128}}` or
`{..: {"bits": 8}}`.
Whoever builds the network from its configuration applies them before the weights are loaded. The
folder of a transformers model that has some opens in this engine only: the library builds the
layers that its own configuration asks for.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_model
from torch import Tensor, nn

from training.engine import few_bits
from training.engine.errors import ModelError

JSON = dict[str, Any]
ALTERED = "altered"
MOST = 4_000_000  # inputs, outputs or rank of one layer


class LowRank(nn.Sequential):
    """A layer as the product of two thin ones: `W x + b` becomes `second (first x) + b`."""

    @property
    def weight(self) -> Tensor:
        """The first one's: some models look at a layer's weight for its type and device."""
        return self[0].get_parameter("weight")


def of(config: Mapping[str, Any]) -> JSON:
    """The altered layers of a network's configuration."""
    return dict(config.get(ALTERED) or {})


def plain(config: Mapping[str, Any]) -> JSON:
    """A configuration without them, as its architecture knows it."""
    return {name: value for name, value in config.items() if name != ALTERED}


def joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> JSON:
    """What is altered by both, the second after the first."""
    names = [*first, *(name for name in second if name not in first)]
    return {name: {**first.get(name, {}), **second.get(name, {})} for name in names}


def apply(module: nn.Module, altered: Mapping[str, Any]) -> None:
    """Replace the named layers by ones of the altered shape, whose weights are still to be loaded.

    Raises ModelError for a layer that is not there, or cannot be so.
    """
    for name, said in altered.items():
        try:
            layer = module.get_submodule(name)
            keys = ("inputs", "outputs", "rank", "bits")
            shape = {key: int(said[key]) for key in keys if key in said}
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelError(f"Its altered layer {name} is none of this network's.") from error
        if any(not 1 <= size <= MOST for size in shape.values()):
            raise ModelError(f"Its altered layer {name} has a size that no layer has.")
        if "inputs" in shape or "outputs" in shape:
            layer = resized(layer, shape.get("inputs"), shape.get("outputs"))
        if "rank" in shape:
            layer = factorised(layer, shape["rank"])
        if "bits" in shape:
            layer = few_bits.of(layer, shape["bits"])
        replace(module, name, layer)


def replace(module: nn.Module, name: str, layer: nn.Module) -> None:
    """Put a layer in the place of the one of this name."""
    parent, _, last = name.rpartition(".")
    layer.train(module.training)
    setattr(module.get_submodule(parent), last, layer)


def is_transposed(layer: nn.Module) -> bool:
    """Whether it keeps its weight as `[inputs, outputs]`, as GPT-2's layers do."""
    return type(layer).__name__ == "Conv1D"


def sizes(layer: nn.Module) -> tuple[int, int]:
    """Its inputs and outputs, or channels. Raises ModelError for a layer that has none."""
    match layer:
        case nn.Linear():
            return layer.in_features, layer.out_features
        case nn.Conv1d() | nn.Conv2d():
            return layer.in_channels, layer.out_channels
        case nn.BatchNorm2d():
            return layer.num_features, layer.num_features
    if is_transposed(layer):
        weight = layer.get_parameter("weight")
        return weight.shape[0], weight.shape[1]
    raise ModelError(f"A {type(layer).__name__} has no inputs and outputs to choose from.")


def resized(layer: nn.Module, inputs: int | None, outputs: int | None) -> nn.Module:
    """A layer of the same kind with other numbers of inputs and outputs (None: its own)."""
    match layer:
        case nn.Linear():
            return nn.Linear(
                inputs or layer.in_features,
                outputs or layer.out_features,
                bias=layer.bias is not None,
            )
        case nn.Conv1d() | nn.Conv2d() if layer.groups == 1:
            made = copy.deepcopy(layer)
            made.in_channels = inputs or layer.in_channels
            made.out_channels = outputs or layer.out_channels
            made.weight = nn.Parameter(
                layer.weight.new_empty(
                    (made.out_channels, made.in_channels, *layer.weight.shape[2:])
                )
            )
            if layer.bias is not None:
                made.bias = nn.Parameter(layer.weight.new_empty(made.out_channels))
            made.reset_parameters()
            return made
        case nn.BatchNorm2d():
            return nn.BatchNorm2d(
                outputs or layer.num_features,
                eps=layer.eps,
                momentum=layer.momentum,
                affine=layer.affine,
                track_running_stats=layer.track_running_stats,
            )
    if is_transposed(layer):
        before = layer.get_parameter("weight")
        shape = (inputs or before.shape[0], outputs or before.shape[1])
        other: Any = copy.deepcopy(layer)
        other.nx, other.nf = shape
        other.weight = nn.Parameter(before.new_zeros(shape))
        other.bias = nn.Parameter(before.new_zeros(shape[1]))
        return cast(nn.Module, other)
    raise ModelError(f"A {type(layer).__name__} cannot be given another size.")


def factorised(layer: nn.Module, rank: int) -> LowRank:
    """A layer of the same inputs and outputs as two thin ones. Convolutions see their places in the
    first and mix channels in the second."""
    match layer:
        case nn.Linear():
            return LowRank(
                nn.Linear(layer.in_features, rank, bias=False),
                nn.Linear(rank, layer.out_features, bias=layer.bias is not None),
            )
        case nn.Conv1d() | nn.Conv2d() if layer.groups == 1:
            kind: Any = type(layer)
            return LowRank(
                kind(
                    layer.in_channels,
                    rank,
                    layer.kernel_size,
                    stride=layer.stride,
                    padding=layer.padding,
                    dilation=layer.dilation,
                    padding_mode=layer.padding_mode,
                    bias=False,
                ),
                kind(rank, layer.out_channels, 1, bias=layer.bias is not None),
            )
    if is_transposed(layer):
        inputs, outputs = sizes(layer)
        return LowRank(nn.Linear(inputs, rank, bias=False), nn.Linear(rank, outputs))
    raise ModelError(f"A {type(layer).__name__} cannot be factorised.")


def save(module: nn.Module, path: Path) -> None:
    """The weights under the names of the altered layers; those used twice are stored once."""
    save_model(module, str(path), metadata={"format": "pt"})


def load(module: nn.Module, path: Path, last: nn.Module) -> None:
    """Weights into a module that was built and altered; its `last` layer stays as it was drawn
    where the stored one answers other labels. Raises ModelError when they are not this module's."""
    try:
        stored = load_file(path)
        own = module.state_dict(keep_vars=True)
        labelled = {id(one) for one in last.parameters()}
        for name, value in own.items():
            if id(value) in labelled and name in stored and stored[name].shape != value.shape:
                stored[name] = value.detach()
        missing, unknown = module.load_state_dict(stored, strict=False)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise ModelError(f"The weights do not fit the configuration: {error}") from error
    loaded = {id(own[name]) for name in stored if name in own}
    wrong = [*unknown, *(name for name in missing if id(own[name]) not in loaded)]
    if wrong:
        raise ModelError(f"The weights do not fit the configuration: {', '.join(wrong[:5])}.")
