from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from training.engine.divergences import kl
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import CLASSIFICATION

LEAST = 1e-7  # beside a deviation, as the authors' code has it


@dataclass(frozen=True, slots=True)
class Options:
    temperature: float = option(
        2.0,
        minimum=0.05,
        maximum=1000.0,
        help="Of the standardised logits, whose deviation is 1: 2 leaves them rather flat.",
    )


@LOSSES.register
class StandardisedLogits(Loss):
    """A small student need not reach the size of its teacher's logits, only their shape."""

    key = "standardised_logits"
    label = "Standardised logits"
    summary = (
        "Soft targets of logits with mean 0 and deviation 1 in each row. Usual weights: 9, beside "
        "0.5 of hard labels."
    )
    formula = "T² · KL(softmax(z(t)/T) ‖ softmax(z(s)/T)), z(x) = (x − mean) / deviation"
    paper = "Sun et al.: Logit Standardization in Knowledge Distillation, 2403.01427, algorithm 1"
    needs_teacher = True
    of_logits = True
    is_divergence = True
    tasks = (*CLASSIFICATION, "text-generation")
    Options: ClassVar[type] = Options

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        assert teacher_logits is not None
        temperature = self.options.temperature
        student = F.log_softmax(_standardised(student_logits) / temperature, dim=1)
        teacher = F.log_softmax(_standardised(teacher_logits) / temperature, dim=1)
        return kl(teacher, student, temperature)


def _standardised(logits: Tensor) -> Tensor:
    """Mean 0 and deviation 1 over the classes of each row; of one class alone, 0."""
    centred = logits - logits.mean(dim=1, keepdim=True)
    if logits.shape[1] < 2:
        return centred
    return centred / (logits.std(dim=1, keepdim=True) + LEAST)
