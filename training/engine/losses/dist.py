from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import CLASSIFICATION

LEAST = 1e-8  # length of a varying vector, as in the authors' code


@dataclass(frozen=True, slots=True)
class Options:
    between_weight: float = option(
        1.0,
        minimum=0.0,
        maximum=100.0,
        help="Of the relation between classes within a row.",
    )
    within_weight: float = option(
        1.0,
        minimum=0.0,
        maximum=100.0,
        help="Of the relation between rows within a class. It sees the rows of a whole step, so it "
        "wants batches that hold several rows of each class.",
    )
    temperature: float = option(
        1.0, minimum=0.05, maximum=1000.0, help="Softens both sides; the paper takes 1, or 4."
    )


@LOSSES.register
class DIST(Loss):
    """1 − Pearson's r is half the squared distance of the two centred vectors of length 1, which
    is exactly 0 where they agree. A vector that does not vary, such as the only row's column, has
    no correlation: two of them agree, and one alone counts one half."""

    key = "dist"
    label = "DIST"
    summary = (
        "Correlation instead of equality: the order and proportions of the teacher's "
        "probabilities, between the classes of a row and between the rows of a class."
    )
    formula = "T² · (between (1 − r(rows)) + within (1 − r(columns))), r: Pearson's, of s and t"
    paper = "Huang et al.: Knowledge Distillation from A Stronger Teacher, 2205.10536, section 3"
    needs_teacher = True
    is_divergence = True
    is_joint = True
    tasks = (*CLASSIFICATION, "text-generation")
    unit = "correlation"
    Options: ClassVar[type] = Options

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        assert teacher_logits is not None
        said = self.options
        student = F.softmax(student_logits / said.temperature, dim=1)
        teacher = F.softmax(teacher_logits / said.temperature, dim=1)
        between = _uncorrelated(student, teacher, dim=1)
        within = _uncorrelated(student, teacher, dim=0).mean()
        both = said.between_weight * between + said.within_weight * within
        value: Tensor = both * float(said.temperature**2)
        return value


def _uncorrelated(one: Tensor, two: Tensor, dim: int) -> Tensor:
    """1 − Pearson's r along a dimension."""
    one = F.normalize(one - one.mean(dim=dim, keepdim=True), dim=dim, eps=LEAST)
    two = F.normalize(two - two.mean(dim=dim, keepdim=True), dim=dim, eps=LEAST)
    apart: Tensor = (one - two).square().sum(dim=dim) * 0.5
    return apart
