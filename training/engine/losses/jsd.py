from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from training.engine.divergences import balanced_js, log_probabilities
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import CLASSIFICATION


@dataclass(frozen=True, slots=True)
class Options:
    beta: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        help="The teacher's share of the mixture. Near 0 the term is soft targets, near 1 reverse "
        "KL; in between, a compromise of both.",
    )
    form: str = option(
        "normalised",
        choices=("normalised", "raw"),
        help="normalised: divided by β(1 − β), so that changing β does not change the gradient's "
        "size, and both ends are reached without a jump. raw: the paper's, as TRL has it: without "
        "T², nearly 0 beside the ends and a whole KL at 0 and 1.",
    )
    temperature: float = option(
        1.0,
        minimum=0.05,
        maximum=1000.0,
        help="Softens both sides. TRL's trainer also samples with it, at 0.9.",
    )


@LOSSES.register
class JSD(Loss):
    """D = β KL(t ‖ m) + (1 − β) KL(s ‖ m), where m = βt + (1 − β)s.

    D itself tends to 0 at both ends of β, and so does its gradient; divided by β(1 − β) it tends to
    KL(t ‖ s) and KL(s ‖ t). The raw form at exactly 0 and 1 is those divergences, as in TRL.
    """

    key = "jsd"
    label = "Jensen-Shannon divergence"
    summary = "Between soft targets and reverse KL, in nats: both are held against their mixture."
    formula = "T² · D / (β(1 − β)), D = β KL(t ‖ m) + (1 − β) KL(s ‖ m), m = βt + (1 − β)s"
    paper = (
        "Agarwal et al.: On-Policy Distillation of Language Models (GKD), 2306.13649, equation 1"
    )
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
        beta, temperature = self.options.beta, self.options.temperature
        student = log_probabilities(student_logits, self.problem, temperature)
        teacher = log_probabilities(teacher_logits, self.problem, temperature)
        if self.options.form == "normalised":
            return balanced_js(teacher, student, beta, temperature)
        return balanced_js(teacher, student, beta) * (beta * (1.0 - beta) or 1.0)
