"""Which channels of a network matter: measured by the gradient where rows are given, else by the
size of their weights."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.engine import alterations
from training.engine.data import NO_UNIT
from training.engine.derivations import Example
from training.engine.derivations.slimming import Masks, axis_of
from training.engine.derivations.structure import Axis, Group, Part, stack
from training.engine.networks import Network, Place


def important(
    network: Network, groups: Sequence[Group], examples: Sequence[Example], *, reads: bool
) -> list[Tensor]:
    """Of each group, how much each of its channels matters, `[channels]`, float32.

    With examples: the mean over rows of |Σ x · dL/dx| at what reads the channel (of heads: Michel
    et al. 1905.10650, equation 2; of channels: Molchanov et al. 1611.06440, equation 8). Without:
    the L1 norm of the weights that make it (Li et al. 1608.08710), times that of those that read it
    where `reads`.
    """
    if examples:
        return _measured(network, groups, examples)
    found = []
    for group in groups:
        matters = sum_of(network.module, group.makes, group.size)
        if reads:
            matters = matters * sum_of(network.module, group.reads, group.size)
        found.append(matters)
    return found


def of_width(network: Network, width: int, masks: Masks, examples: Sequence[Example]) -> Tensor:
    """How much each of the numbers matters that a transformer carries from layer to layer,
    `[width]`: measured at the output of every layer, or by the weights that make and read it."""
    module, total = network.module, torch.zeros(width)
    if examples:
        name = stack(module)
        layers = [f"{name}.{at}" for at, _ in module.get_submodule(name).named_children()]
        for seen in _products(network, layers, examples, made=True):
            for product in seen.values():
                felt = _over_rows(product)
                total += felt / felt.sum().clamp(min=1e-12)
        return total
    for name, weight in module.named_parameters():
        layer, _, last = name.rpartition(".")
        for dim in range(weight.ndim):
            axis = axis_of(module.get_submodule(layer), last, dim)
            if weight.shape[dim] == width and (layer, axis) not in masks and weight.ndim > 1:
                sizes = weight.detach().abs().transpose(0, dim).flatten(1).sum(1)
                total += sizes / sizes.sum().clamp(min=1e-12)
    return total


def kept(matters: Tensor, count: int) -> Tensor:
    """The `count` channels that matter most, bool; of equal ones the first."""
    mask = torch.zeros(len(matters), dtype=torch.bool)
    mask[torch.sort(matters, descending=True, stable=True).indices[:count]] = True
    return mask


def sum_of(module: nn.Module, parts: Sequence[Part], size: int) -> Tensor:
    """`[size]`: the absolute weights of these parts that belong to each channel."""
    total = torch.zeros(size)
    for part in parts:
        layer = module.get_submodule(part.layer)
        if isinstance(layer, nn.BatchNorm2d):
            continue  # its scale is no filter's weight
        total += per_entry(layer, part.axis)[_span(part, size)].view(size, -1).sum(1)
    return total


def per_entry(layer: nn.Module, axis: Axis) -> Tensor:
    """`[entries]`: the absolute weights of each input or output of a layer."""
    weight = layer.get_parameter("weight").detach().abs()
    if alterations.is_transposed(layer):
        weight = weight.T
    dim = 0 if axis == "outputs" else 1
    return weight.transpose(0, dim).flatten(1).sum(1)


def objective(logits: Tensor, labels: Tensor | None, network: Network) -> Tensor:
    """What the gradient is of, summed over units: the task's loss where rows have labels, else the
    loss of the network's own answer. `logits`: `[units, classes]`."""
    said = logits.detach()
    if network.problem in ("regression", "embedding"):
        return logits.square().sum() / 2
    if network.problem == "multi_label":
        own = (said > 0).float()
        wanted = own if labels is None else torch.where(labels.isnan(), own, labels)
        return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
    chosen = said.argmax(-1)
    if labels is not None and len(labels) == len(logits):
        chosen = torch.where(labels >= 0, labels, chosen)
    return F.cross_entropy(logits, chosen, reduction="sum")


def _measured(
    network: Network, groups: Sequence[Group], examples: Sequence[Example]
) -> list[Tensor]:
    totals = [torch.zeros(group.size) for group in groups]
    readers = [group.reads[0].layer for group in groups]
    for seen in _products(network, readers, examples):
        for group, name, total in zip(groups, readers, totals, strict=True):
            total += _felt(network.module, group, seen[name])
    return totals


def _products(
    network: Network, names: Sequence[str], examples: Sequence[Example], *, made: bool = False
) -> Iterator[dict[str, Tensor]]:
    """For each batch, x · dL/dx of what each named layer reads, or of what it has `made`."""
    module, place = network.module, Place(torch.device("cpu"))
    seen: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, inputs: Any, output: Any = None) -> None:
            value = output if made else inputs
            value = value[0] if isinstance(value, tuple) else value
            value.retain_grad()
            seen[name] = value

        return hook

    handles = []
    for name in set(names):
        layer = module.get_submodule(name)
        add = layer.register_forward_hook if made else layer.register_forward_pre_hook
        handles.append(add(watch(name)))
    was = module.training
    module.eval()
    try:
        for example in examples:
            module.zero_grad(set_to_none=True)
            logits = place.logits(network, example.inputs).flatten(0, -2)
            labels = _next(example) if example.labels is None else example.labels
            objective(logits, labels, network).backward()  # type: ignore[no-untyped-call]
            yield {
                name: (value.detach() * value.grad).float()
                for name, value in seen.items()
                if value.grad is not None
            }
    finally:
        for handle in handles:
            handle.remove()
        module.zero_grad(set_to_none=True)
        module.train(was)


def _next(example: Example) -> Tensor | None:
    """Of tokens, their labels stand beside the inputs."""
    targets = example.inputs.get("targets")
    return None if targets is None else targets[targets != NO_UNIT]


def _felt(module: nn.Module, group: Group, product: Tensor) -> Tensor:
    """`[channels]`, summed over the rows of a batch."""
    part = group.reads[0]
    if isinstance(module.get_submodule(part.layer), nn.Conv1d | nn.Conv2d):
        product = product.transpose(1, -1)  # channels last
    product = product[..., _span(part, group.size)]
    return _over_rows(product.reshape(*product.shape[:-1], group.size, part.each).sum(-1))


def _over_rows(product: Tensor) -> Tensor:
    """`[channels]` from `[rows, ..., channels]`: the sum over rows of |the sum over places|."""
    if product.ndim > 2:
        product = product.flatten(1, -2).sum(1)
    return product.abs().sum(0)


def _span(part: Part, size: int) -> slice:
    return slice(part.start, part.start + size * part.each)
