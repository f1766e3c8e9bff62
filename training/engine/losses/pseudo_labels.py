from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import CLASSIFICATION


@dataclass(frozen=True, slots=True)
class Options:
    replace: bool = option(
        False, help="Learn the teacher's choice of rows that have a label of their own, too."
    )


@LOSSES.register
class PseudoLabels(Loss):
    """What is left of distillation when the teacher only names a label and does not say how sure it
    is. Where rows have no label, most of a gain is usually here: it is the fair rival of soft
    targets, which learn from the same teacher and the same rows.

    With several labels a row, each is a yes or a no, and only those that a row lacks are the
    teacher's.
    """

    key = "pseudo_labels"
    label = "Pseudo-labels"
    summary = (
        "Cross-entropy with the given label, and of rows that have none with the label that the "
        "teacher holds likeliest."
    )
    formula = "−log softmax(s)[label, or argmax t]; mean over labels of −log σ(±s)"
    paper = "Lee: Pseudo-Label, ICML 2013 workshop, equation 15, with a teacher as the one who says"
    needs_teacher = True
    of_choice = True
    of_probabilities = True
    tasks = CLASSIFICATION
    problems = ("single_label", "multi_label")
    Options: ClassVar[type] = Options

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        assert teacher_logits is not None
        if self.problem == "single_label":
            said = teacher_logits.argmax(dim=-1)
            known = (labels >= 0) & (not self.options.replace)
            return F.cross_entropy(
                student_logits, torch.where(known, labels, said), reduction="none"
            )
        said = (teacher_logits > 0).to(student_logits.dtype)
        known = ~labels.isnan() & (not self.options.replace)
        target = torch.where(known, labels.nan_to_num(0.0).to(said.dtype), said)
        apart = F.binary_cross_entropy_with_logits(student_logits, target, reduction="none")
        return apart.mean(dim=-1)
