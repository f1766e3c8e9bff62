import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from training.engine.networks import Network
from training.engine.options import option
from training.engine.schemes import SCHEMES, Scheme, Step, Total


@dataclass(frozen=True, slots=True)
class Options:
    decay: float = option(
        0.99,
        minimum=0.0,
        maximum=0.99999,
        help="Share of the old average kept at each step; in the first steps less, so that the "
        "average is not of the start.",
    )


@SCHEMES.register
class EMATeacher(Scheme):
    """The teacher is the running average of the student's own weights: smoother, and a little
    ahead."""

    key = "ema_teacher"
    label = "Average of itself"
    summary = "The student learns from the running average of its own weights, on any row."
    formula = "θ' ← a · θ' + (1 − a) · θ,  a = min(decay, (1 + n) / (10 + n))"
    paper = "Tarvainen, Valpola: Mean teachers, 1703.01780, p. 3, equation 2"
    brings_teacher = True
    takes_teachers = False
    copies: ClassVar[int] = 1
    Options: ClassVar[type] = Options

    def prepare(self, student: Network, draw: Callable[[int], nn.Module]) -> nn.Module:
        self.average = copy.deepcopy(student.module).requires_grad_(False)
        return self.average

    def teach(self, step: Step) -> Total:
        self.average.eval()
        with torch.no_grad():
            said = step.ask(self.average)
        return step.total(step.student(), said.detached())

    @torch.no_grad()
    def stepped(self, student: nn.Module, done: int) -> None:
        kept = min(self.options.decay, (1 + done) / (10 + done))
        now = student.state_dict()
        for name, value in self.average.state_dict().items():
            if value.is_floating_point():
                value.lerp_(now[name], 1.0 - kept)
            else:
                value.copy_(now[name])
