"""Optimizers and learning-rate schedules, by key."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, cast

import torch
from torch import nn

from training.engine import freezing, lora
from training.engine.config import Training
from training.engine.errors import ConfigError, Fault
from training.engine.networks import Network
from training.engine.registry import Method

Kind = TypeVar("Kind", bound=type[torch.optim.Optimizer])


def unwatched(kind: Kind) -> Kind:
    """The same optimizer, whose step opens no frame for a profiler and calls no hooks: of a student
    of some hundred weights they take one part in twenty-five of all its time."""
    plain = inspect.unwrap(kind.step)

    @torch.no_grad()
    def step(self: torch.optim.Optimizer, closure: Callable[[], float] | None = None) -> Any:
        return plain(self, closure)

    step.hooked = True  # type: ignore[attr-defined] # else it is wrapped when the first one is made
    return cast(Kind, type(kind.__name__, (kind,), {"step": step}))


class AdamW(Method):
    key = "adamw"
    label = "AdamW"
    summary = "Adam with decoupled weight decay: the default for nearly everything."
    paper = "Loshchilov, Hutter: Decoupled Weight Decay Regularization, 1711.05101, algorithm 2"

    @staticmethod
    def build(groups: list[dict[str, object]], training: Training) -> torch.optim.Optimizer:
        # fused: one pass over the weights instead of ten, 5 to 7 times as fast on a CPU
        return unwatched(torch.optim.AdamW)(groups, lr=training.learning_rate, fused=True)


class SGD(Method):
    key = "sgd"
    label = "SGD"
    summary = "Gradient descent with momentum: plain, and strong for convnets trained long."
    paper = "Sutskever et al.: On the importance of initialization and momentum, ICML 2013"

    @staticmethod
    def build(groups: list[dict[str, object]], training: Training) -> torch.optim.Optimizer:
        rate, momentum = training.learning_rate, training.momentum
        return unwatched(torch.optim.SGD)(groups, lr=rate, momentum=momentum)


class Constant(Method):
    key = "constant"
    label = "Constant"
    summary = "The same rate to the end."
    formula = "1"

    @staticmethod
    def factor(done: float) -> float:
        return 1.0


class Linear(Method):
    key = "linear"
    label = "Linear"
    summary = "Falls evenly to 0."
    formula = "1 − p"

    @staticmethod
    def factor(done: float) -> float:
        return 1.0 - done


class Cosine(Method):
    key = "cosine"
    label = "Cosine"
    summary = "Falls along half a cosine to 0: slow, fast, slow."
    formula = "(1 + cos πp) / 2"
    paper = "Loshchilov, Hutter: SGDR, 1608.03983, p. 4"

    @staticmethod
    def factor(done: float) -> float:
        return 0.5 * (1.0 + math.cos(math.pi * done))


OPTIMIZERS: dict[str, type[AdamW | SGD]] = {one.key: one for one in (AdamW, SGD)}
SCHEDULES: dict[str, type[Constant | Linear | Cosine]] = {
    one.key: one for one in (Constant, Linear, Cosine)
}


def prepare(student: Network, training: Training) -> None:
    """Have the student trained as asked. Raises ConfigError."""
    if training.freeze == "backbone":
        freezing.freeze(student.module)
    if training.lora_rank:
        lora.wrap(student.module, training.lora_rank)
    if not training.gradient_checkpointing:
        return
    model = getattr(student.module, "model", None)
    if model is None or not getattr(model, "supports_gradient_checkpointing", False):
        sentence = f"{student.architecture} keeps all its activations; it is small enough to."
        raise ConfigError([Fault("training.gradient_checkpointing", sentence)])
    model.gradient_checkpointing_enable({"use_reentrant": False})


def optimizer(weights: list[nn.Parameter], training: Training) -> torch.optim.Optimizer:
    """Weight decay for matrices only: decaying biases and norms (one dimension) helps nobody."""
    groups: list[dict[str, object]] = [
        {"params": [one for one in weights if one.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [one for one in weights if one.ndim <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[training.optimizer].build([one for one in groups if one["params"]], training)


def learning_rate(training: Training, step: int, steps: int) -> float:
    """The rate of step `step` (from 0) of `steps`: a pure function, so nothing of it is saved."""
    warmup = round(training.warmup_ratio * steps)
    if step < warmup:
        return training.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return training.learning_rate * SCHEDULES[training.schedule].factor(min(1.0, done))


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def forget(weights: Iterable[nn.Parameter]) -> None:
    """Let go of the gradients; the optimizers' own way of it is watched by a profiler, too."""
    for one in weights:
        one.grad = None


def gradient_norm(
    parameters: Iterable[nn.Parameter],
    longest: float | None,
    optimizer: torch.optim.Optimizer | None = None,
) -> torch.Tensor:
    """Length of the whole gradient, which is shortened to `longest`: in place, or by the fused
    `optimizer` in its next step, which divides as it goes and saves a pass over the gradient."""
    if optimizer is None or not optimizer.defaults.get("fused"):
        return nn.utils.clip_grad_norm_(parameters, longest or math.inf)
    gradients = [one.grad for one in parameters if one.grad is not None]
    lengths = torch._foreach_norm(gradients)
    norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(lengths))
    if longest is not None:
        optimizer.grad_scale = (norm / longest).clamp_(min=1.0)  # type: ignore[attr-defined]
    return norm
