from torch import Tensor
from torch.nn import functional as F

from training.engine.losses import LOSSES, Loss
from training.engine.registry import CLASSIFICATION


@LOSSES.register
class TotalVariation(Loss):
    """Symmetric and bounded, so a row whose label is wrong cannot pull harder than any other; its
    gradient is small while student and teacher are sure of different things."""

    key = "tvd"
    label = "Total variation"
    summary = "The share of probability that student and teacher spend on different answers."
    formula = "½ Σ |softmax(t) − softmax(s)|; mean over labels of |σ(t) − σ(s)|"
    paper = (
        "Wen et al.: f-Divergence Minimization for Sequence-Level Knowledge Distillation, "
        "2307.15190; compared in DistiLLM, 2402.03898"
    )
    needs_teacher = True
    is_divergence = True
    of_probabilities = True
    tasks = (*CLASSIFICATION, "text-generation")
    problems = ("single_label", "multi_label")
    unit = "probability"

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        assert teacher_logits is not None
        if self.problem == "multi_label":
            return (student_logits.sigmoid() - teacher_logits.sigmoid()).abs().mean(dim=-1)
        apart = F.softmax(student_logits, dim=-1) - F.softmax(teacher_logits, dim=-1)
        return apart.abs().sum(dim=-1) * 0.5
