from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.engine.divergences import log_probabilities, skewed_kl
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import CLASSIFICATION


@dataclass(frozen=True, slots=True)
class Options:
    share: float = option(
        0.1,
        minimum=0.0,
        maximum=0.9,
        label="λ",
        help="What the mixture takes from the side that is measured: the teacher forward, the "
        "student reverse. 0 is the plain divergence; more makes gradients calmer and smaller.",
    )
    direction: str = option(
        "forward",
        choices=("forward", "reverse"),
        help="forward: the teacher is held against λ teacher + (1 − λ) student. reverse: the "
        "student against λ student + (1 − λ) teacher.",
    )
    temperature: float = option(
        1.0,
        minimum=0.05,
        maximum=1000.0,
        help="Softens both sides; the factor T² keeps the gradient's size. The paper leaves it at "
        "1.",
    )


@LOSSES.register
class SkewedKL(Loss):
    key = "skewed_kl"
    label = "Skewed KL"
    summary = (
        "One side is held against a mixture of both, in nats, so that no answer is infinitely "
        "wrong. Mostly for text generation."
    )
    formula = "T² · KL(t ‖ λt + (1 − λ)s), or T² · KL(s ‖ λs + (1 − λ)t)"
    paper = "Ko et al.: DistiLLM, 2402.03898, section 3.1"
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
        measured, other = teacher, student
        if self.options.direction == "reverse":
            measured, other = student, teacher
        return skewed_kl(measured, other, self.options.share, temperature)
