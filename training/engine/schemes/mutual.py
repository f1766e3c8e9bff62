from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from training.engine.networks import Network
from training.engine.options import option
from training.engine.schemes import SCHEMES, Scheme, Step, Total


@dataclass(frozen=True, slots=True)
class Options:
    students: int = option(
        2, minimum=2, maximum=8, help="Networks that learn together; each costs as much as one."
    )


@SCHEMES.register
class Mutual(Scheme):
    """Every student learns from the labels and from each of the others, which it takes as given in
    that step. All have the architecture of the student, each its own seed."""

    key = "mutual"
    label = "Mutual learning"
    summary = "Students without a teacher that teach each other; the best one is kept."
    formula = "Lₖ = hard + 1/(K−1) Σⱼ≠ₖ KL(pⱼ ‖ pₖ)"
    paper = "Zhang et al.: Deep Mutual Learning, 1706.00384, p. 4, equation 8"
    brings_teacher = True
    takes_teachers = False
    Options: ClassVar[type] = Options

    def prepare(self, student: Network, draw: Callable[[int], nn.Module]) -> nn.Module:
        self.others = nn.ModuleList(draw(n) for n in range(1, self.options.students))
        return self.others

    def teach(self, step: Step) -> Total:
        answers = [step.student(), *(step.ask(one) for one in self.others)]
        total: Tensor | None = None
        parts: dict[str, list[Tensor]] = {}
        for place, one in enumerate(answers):
            others = [other.detached() for at, other in enumerate(answers) if at != place]
            for other in others:
                lesson, said = step.total(one, other)
                lesson = lesson / len(others)
                total = lesson if total is None else total + lesson
                for kind, part in said.items():
                    parts.setdefault(kind, []).append(part)
        assert total is not None
        return total, {kind: torch.stack(every).mean() for kind, every in parts.items()}

    def candidates(self, student: nn.Module) -> list[nn.Module]:
        return [student, *self.others]
