from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor
from torch.nn import functional as F

from training.engine.errors import ConfigError, Fault
from training.engine.job_config import Problem
from training.engine.losses import LOSSES, Loss
from training.engine.options import option
from training.engine.registry import CLASSIFICATION


@dataclass(frozen=True, slots=True)
class Options:
    label_smoothing: float = option(
        0.0,
        minimum=0.0,
        maximum=0.5,
        help="Share of the target spread over all classes, where a row has one label. Alone it is "
        "no distillation, and it often hurts a later one (Müller et al., 1906.02629).",
    )


@LOSSES.register
class HardLabels(Loss):
    """With several labels a row, the mean over labels, so that a weight means the same however
    many there are. A row that lacks one of its labels is left out."""

    key = "hard_labels"
    label = "Hard labels"
    summary = (
        "Cross-entropy with the given labels: of one class, or of each label's yes and no where a "
        "row has several. Squared error where labels are numbers. Rows without a label are left "
        "out."
    )
    formula = "−log softmax(s)[label]; mean over labels of −log σ(±s); (s − label)²"
    needs_labels = True
    tasks = (*CLASSIFICATION, "text-generation")
    problems = ("single_label", "multi_label", "regression")
    Options: ClassVar[type] = Options

    def __init__(self, options: Any, problem: Problem = "single_label") -> None:
        super().__init__(options, problem)
        if problem != "single_label" and options.label_smoothing:
            sentence = "It spreads one label over the other classes; here it must be 0."
            raise ConfigError([Fault(f"{self.key}.label_smoothing", sentence)])

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        if self.problem == "single_label":
            return F.cross_entropy(
                student_logits,
                labels.clamp(min=-1),
                reduction="none",
                ignore_index=-1,
                label_smoothing=self.options.label_smoothing,
            )
        known = labels.nan_to_num(0.0).to(student_logits.dtype)
        if self.problem == "multi_label":
            apart = F.binary_cross_entropy_with_logits(student_logits, known, reduction="none")
        else:
            apart = (student_logits - known).square()
        return apart.mean(dim=-1).masked_fill(~self.speaks(labels), 0.0)
