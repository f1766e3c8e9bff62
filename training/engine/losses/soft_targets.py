from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from training.engine.losses import LOSSES, Loss
from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Options:
    temperature: float = option(
        4.0,
        minimum=0.05,
        maximum=1000.0,
        help="Softens both sides. Higher shows more of what the teacher thinks of the other "
        "classes; 1 to 10 is usual, and the best one depends on rows and steps.",
    )


@LOSSES.register
class SoftTargets(Loss):
    """The factor T² keeps the gradient's size whatever the temperature; in the limit of high
    temperatures the gradient tends to (s − t) / classes (section 2.1 of the paper)."""

    key = "soft_targets"
    label = "Soft targets"
    summary = "The student learns the teacher's softened probabilities, in nats."
    formula = "T² · KL(softmax(t/T) ‖ softmax(s/T))"
    paper = "Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 1503.02531, p. 2"
    needs_teacher = True
    is_divergence = True
    Options: ClassVar[type] = Options

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        assert teacher_logits is not None
        temperature = self.options.temperature
        student = F.log_softmax(student_logits / temperature, dim=-1)
        teacher = F.log_softmax(teacher_logits / temperature, dim=-1)
        divergence: Tensor = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
        return divergence * float(temperature**2)
