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
        4.0,
        minimum=0.05,
        maximum=1000.0,
        help="Softens both sides. Higher shows more of what the teacher thinks of the other "
        "classes; 1 to 10 is usual, and the best one depends on rows and steps.",
    )


@LOSSES.register
class SoftTargets(Loss):
    """The factor T² keeps the gradient's size whatever the temperature; in the limit of high
    temperatures the gradient tends to (s − t) / classes (section 2.1 of the paper).

    With several labels a row, each label is a yes or a no, and the value is their mean.
    """

    key = "soft_targets"
    label = "Soft targets"
    summary = "The student learns the teacher's softened probabilities, in nats."
    formula = "T² · KL(softmax(t/T) ‖ softmax(s/T)); mean over labels of T² · KL(σ(t/T) ‖ σ(s/T))"
    paper = "Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 1503.02531, p. 2"
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
        return kl(teacher, student, temperature)
