from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from training.engine.losses import LOSSES, Loss
from training.engine.options import option


@dataclass(frozen=True, slots=True)
class Options:
    label_smoothing: float = option(
        0.0,
        minimum=0.0,
        maximum=0.5,
        help="Share of the target spread over all classes. Alone it is no distillation, and it "
        "often hurts a later one (Müller et al., 1906.02629).",
    )


@LOSSES.register
class HardLabels(Loss):
    key = "hard_labels"
    label = "Hard labels"
    summary = "Cross-entropy with the given labels; rows without a label are left out."
    formula = "−log softmax(s)[label]"
    needs_labels = True
    Options: ClassVar[type] = Options

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        return F.cross_entropy(
            student_logits,
            labels,
            reduction="none",
            ignore_index=-1,
            label_smoothing=self.options.label_smoothing,
        )
