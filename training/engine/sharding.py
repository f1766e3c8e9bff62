"""A student that does not fit one GPU: weights, gradients and moments lie in parts with all
processes (PyTorch's FSDP2, Zhao et al.: 2304.11277, which Accelerate's plugin stands on).

Each layer is put together where it is needed, and taken apart again. Gradients are added over the
processes, not averaged, as ranks.py has it; so N of them take the steps of one. What is kept (the
best weights, checkpoints, the output) is whole, in the memory of the CPU: a checkpoint of several
processes is one of any other number.
"""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from training.engine.config import Training
from training.engine.errors import ConfigError, Fault
from training.engine.lesson import Lesson
from training.engine.ranks import Ranks
from training.engine.schemes import Scheme

FIELD = "training.sharding"


def refuse(training: Training, lesson: Lesson, scheme: Scheme, beside: bool, ranks: Ranks) -> None:
    """Raises ConfigError naming everything that a student in parts cannot do."""
    rewrites = type(scheme).rewrite is not Scheme.rewrite
    faults = {
        "It needs several processes: take two GPUs or more, or none for it.": ranks.size < 2,
        f"{scheme.label} keeps or asks more than the student: only a whole one can.": beside
        or rewrites,
        "A term compares layers or rows: take terms that compare answers.": bool(lesson.wanted)
        or lesson.is_joint,
        "A student that writes is not taken apart here: its last layer is asked in pieces.": (
            lesson.writes
        ),
        "A student in parts is not compiled: turn one of both off.": training.compile,
        "Adapters are small enough for one GPU each: turn one of both off.": bool(
            training.lora_rank
        ),
        "float16 is not scaled over parts: take bfloat16.": training.precision == "float16",
    }
    found = [Fault(FIELD, sentence) for sentence, holds in faults.items() if holds]
    if found:
        raise ConfigError(found)


class Whole:
    """A sharded module, as it is kept: every process must ask together."""

    def __init__(self, module: nn.Module, ranks: Ranks, device: torch.device) -> None:
        """Takes the module apart, layer by layer; it may lie on the CPU, and no process ever holds
        all of it on its device."""
        self.plain = deepcopy(module).cpu()
        mesh = init_device_mesh(device.type, (ranks.size,))
        for layer in _layers(module):
            fully_shard(layer, mesh=mesh)
        fully_shard(module, mesh=mesh)
        for one in module.modules():
            if isinstance(one, FSDPModule):
                one.set_gradient_divide_factor(1.0)
                one.set_force_sum_reduction_for_comms(True)
        self.module = module

    def state_dict(self) -> dict[str, Tensor]:
        return {name: _full(one) for name, one in self.module.state_dict().items()}

    def load_state_dict(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, one in self.module.state_dict().items():
                one.copy_(_like(one, weights[name]))

    def together(self, weights: Mapping[str, Tensor] | None) -> nn.Module:
        """The module put together on the CPU, with these weights, or those it has now."""
        self.plain.load_state_dict(self.state_dict() if weights is None else weights)
        return self.plain


class WholeOptimizer:
    """Its moments, as they are kept: every process must ask together."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def state_dict(self) -> dict[str, Any]:
        said = self.optimizer.state_dict()
        state = {
            place: {
                name: _full(one) if isinstance(one, Tensor) else one for name, one in of.items()
            }
            for place, of in said["state"].items()
        }
        return {**said, "state": state}

    def load_state_dict(self, said: dict[str, Any]) -> None:
        self.optimizer.load_state_dict(said)
        for weight, state in self.optimizer.state.items():
            for name, one in state.items():
                if isinstance(one, Tensor) and one.shape == weight.shape:
                    state[name] = _like(weight, one)


def gradient_norm(weights: Sequence[nn.Parameter], longest: float | None) -> Tensor:
    """Length of the whole gradient, which is shortened to `longest`."""
    norm = nn.utils.get_total_norm([one.grad for one in weights if one.grad is not None])
    if isinstance(norm, DTensor):
        norm = norm.full_tensor()
    if longest is not None:
        nn.utils.clip_grads_with_norm_(weights, longest, norm)
    return norm


def _layers(module: nn.Module) -> Iterator[nn.Module]:
    """Those of every list of layers, the innermost first."""
    for one in reversed(list(module.modules())):
        if isinstance(one, nn.ModuleList):
            yield from (layer for layer in one if any(True for _ in layer.parameters()))


def _full(one: Tensor) -> Tensor:
    whole = one.full_tensor() if isinstance(one, DTensor) else one
    return whole.detach().cpu().clone()


def _like(one: Tensor, whole: Tensor) -> Tensor:
    """The whole tensor in the parts of another one."""
    whole = whole.to(one.device, one.dtype)
    return (
        distribute_tensor(whole, one.device_mesh, one.placements)
        if isinstance(one, DTensor)
        else whole
    )
