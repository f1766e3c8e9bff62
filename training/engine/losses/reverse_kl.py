from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.engine.divergences import kl, log_probabilities
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import CLASSIFICATION


@dataclass(frozen=True, slots=True)
class Options:
    temperature: float = option(
        1.0,
        minimum=0.05,
        maximum=1000.0,
        help="Softens both sides; the factor T² keeps the gradient's size. Papers leave it at 1.",
    )


@LOSSES.register
class ReverseKL(Loss):
    """Where the student cannot say all that the teacher says, soft targets make it cover every
    answer a little; this makes it say some of them well, and forget the others."""

    key = "reverse_kl"
    label = "Reverse KL"
    summary = (
        "The divergence the other way around, in nats: the student may leave answers out, and is "
        "punished for those the teacher would not give. Mostly for text generation."
    )
    formula = "T² · KL(softmax(s/T) ‖ softmax(t/T))"
    paper = "Gu et al.: MiniLLM, 2306.08543, p. 3, equation 1"
    needs_teacher = True
    is_divergence = True
    of_probabilities = True
    tasks = (*CLASSIFICATION, "text-generation")
    problems = ("single_label", "multi_label")
    Options: ClassVar[type] = Options

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        assert teacher_logits is not None
        temperature = self.options.temperature
        student = log_probabilities(student_logits, self.problem, temperature)
        teacher = log_probabilities(teacher_logits, self.problem, temperature)
        return kl(student, teacher, temperature)
