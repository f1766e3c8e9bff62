from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from training.engine.divergences import kl
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import CLASSIFICATION


@dataclass(frozen=True, slots=True)
class Options:
    target_weight: float = option(
        1.0,
        minimum=0.0,
        maximum=100.0,
        help="The paper's alpha, of the target class against all others: how hard the teacher "
        "finds the row.",
    )
    other_weight: float = option(
        8.0,
        minimum=0.0,
        maximum=100.0,
        help="The paper's beta, of the other classes among themselves. In soft targets it is 1 − "
        "(the teacher's probability of the target), so next to nothing where the teacher is sure.",
    )
    temperature: float = option(
        4.0, minimum=0.05, maximum=1000.0, help="Softens both sides; the paper takes 4, or 1."
    )


@LOSSES.register
class DecoupledKD(Loss):
    """Soft targets are the first part plus (1 − p) times the second, where p is the teacher's
    probability of the target class (equation 6); here both have weights of their own.

    The target class is the row's label. A row without one is split at the class its teacher
    thinks most likely: any class splits the divergence exactly, and so every row still teaches.
    """

    key = "dkd"
    label = "Decoupled distillation"
    summary = (
        "Soft targets in two parts with a weight each: the target class, and the others among "
        "themselves. A row without a label is split at the teacher's favourite class."
    )
    formula = (
        "T² · (target KL(b(t) ‖ b(s)) + other KL(o(t) ‖ o(s))); b: target or not, o: the others"
    )
    paper = "Zhao et al.: Decoupled Knowledge Distillation, 2203.08679, equation 7"
    needs_teacher = True
    is_divergence = True
    tasks = (*CLASSIFICATION, "text-generation")
    Options: ClassVar[type] = Options

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        assert teacher_logits is not None
        said = self.options
        target = torch.where(labels >= 0, labels, teacher_logits.argmax(dim=-1)).unsqueeze(1)
        is_target = torch.zeros_like(student_logits, dtype=torch.bool).scatter_(1, target, True)
        mine, my_others = self._split(student_logits / said.temperature, target, is_target)
        theirs, their_others = self._split(teacher_logits / said.temperature, target, is_target)
        pair = kl(theirs, mine, said.temperature)
        others = kl(their_others, my_others, said.temperature)  # both are 0 at the target
        value: Tensor = said.target_weight * pair + said.other_weight * others
        return value

    @staticmethod
    def _split(logits: Tensor, target: Tensor, is_target: Tensor) -> tuple[Tensor, Tensor]:
        """Logarithms of target and not target, `[units, 2]`, and of the others among themselves,
        `[units, classes]`, 0 at the target.

        What the others weigh is summed from their own logits: 1 − p has no digits left where the
        target is nearly certain.
        """
        rest = logits.masked_fill(is_target, -torch.inf).logsumexp(dim=1, keepdim=True)
        pair = torch.cat([logits.gather(1, target), rest], dim=1)
        binary: Tensor = F.log_softmax(pair, dim=1)
        return binary, (logits - rest).masked_fill(is_target, 0.0)
