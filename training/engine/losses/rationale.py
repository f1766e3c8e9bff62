from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from training.engine.data import of_rationale
from training.engine.losses import LOSSES, Loss


@LOSSES.register
class Rationale(Loss):
    """Multi-task training (section 3.2): a prompt begins with `[label]` where the answer follows
    and with `[rationale]` where the reasons do, so that nobody need write reasons to be answered.
    With hard labels of weight a and this term of weight 1 - a, the total is the paper's L_label
    + L_rationale times a factor, which it sets to 1: a = 0.5."""

    key = "rationale"
    label = "Rationales"
    summary = (
        "Cross-entropy with the reasons that a teacher gave for its answers: of their tokens only, "
        "as hard labels are of the answers' only. The dataset has them in its column rationale."
    )
    formula = "−log softmax(s)[token of a rationale]"
    paper = "Hsieh et al.: Distilling Step-by-Step!, 2305.02301, p. 5, equation 4"
    needs_labels = True
    needs_column: ClassVar[str] = "rationale"
    tasks = ("text-generation",)

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        tokens = of_rationale(labels).masked_fill(~self.speaks(labels), -1)
        return F.cross_entropy(student_logits, tokens, reduction="none", ignore_index=-1)

    def speaks(self, labels: Tensor) -> Tensor:
        return labels < -1
