from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from training.engine.answers import Answer, Wanted
from training.engine.errors import ConfigError, Fault
from training.engine.networks import Network
from training.engine.options import option
from training.engine.registry import CLASSIFICATION
from training.engine.schemes import SCHEMES, Scheme, Step, Total


@dataclass(frozen=True, slots=True)
class Options:
    weight: float = option(
        0.3, minimum=0.0, maximum=10.0, help="Of each exit's total, beside the last layer's own."
    )


@SCHEMES.register
class EarlyExits(Scheme):
    """A small classifier on every inner layer learns from the labels and from the last layer's
    answer, so that shallow layers get a signal of their own. The exits are dropped at the end."""

    key = "early_exits"
    label = "Early exits"
    summary = "Inner layers learn from the last one: a network as its own teacher, in one training."
    formula = "hard(last) + weight · Σ total(exitₗ, t = last)"
    paper = "Zhang et al.: Be Your Own Teacher, 1905.08094, p. 4, equations 1 and 2"
    tasks = tuple(task for task in CLASSIFICATION if task != "token-classification")
    brings_teacher = True
    takes_teachers = False
    compares_layers = False
    least_layers = 2
    Options: ClassVar[type] = Options

    @property
    def wants(self) -> Wanted:
        return Wanted(hidden=True)

    def prepare(self, student: Network, draw: Callable[[int], nn.Module]) -> nn.Module:
        self.exits = nn.ModuleList()
        return self.exits

    def fit(self, answer: Answer) -> None:
        if len(answer.hidden) < self.least_layers:
            sentence = "Early exits need a student of at least two layers; this one shows one."
            raise ConfigError([Fault("scheme", sentence)])
        classes = answer.logits.shape[-1]
        for layer in answer.hidden[:-1]:
            width = layer.shape[1] if layer.ndim == 4 else layer.shape[-1]
            self.exits.append(nn.Linear(width, classes).to(layer.device))

    def teach(self, step: Step) -> Total:
        last = step.student()
        total, parts = step.total(last, None)
        taught = Answer(last.logits.detach())
        said: dict[str, list[Tensor]] = {kind: [part] for kind, part in parts.items()}
        for layer, way_out in zip(last.hidden, self.exits, strict=False):
            inner, more = step.total(Answer(way_out(pooled(layer, last.mask))), taught)
            total = total + self.options.weight * inner
            for kind, part in more.items():
                said.setdefault(kind, []).append(part)
        return total, {kind: torch.stack(every).mean() for kind, every in said.items()}


def pooled(layer: Tensor, mask: Tensor | None) -> Tensor:
    """`[batch, width]`: the mean over places, the real ones where there is a mask."""
    if layer.ndim == 4:
        return layer.mean(dim=(2, 3))
    if layer.ndim == 2:
        return layer
    if mask is None:
        return layer.mean(dim=1)
    inside = mask.unsqueeze(-1).to(layer.dtype)
    return (layer * inside).sum(dim=1) / inside.sum(dim=1).clamp_min(1.0)
