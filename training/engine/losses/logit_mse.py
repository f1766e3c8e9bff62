from torch import Tensor

from training.engine.losses import LOSSES, Loss
from training.engine.registry import CLASSIFICATION


@LOSSES.register
class LogitMSE(Loss):
    """With several teachers the target is the logarithm of their mean probabilities."""

    key = "logit_mse"
    label = "Logit regression"
    summary = (
        "The student's logits, or its numbers, approach the teacher's; labels are not needed at "
        "all. Wants weight 1, no hard labels, and many rows, labelled or not."
    )
    formula = "mean over classes of (s − t)²"
    paper = "Ba, Caruana: Do Deep Nets Really Need to be Deep?, 1312.6184, p. 3, equation 1"
    needs_teacher = True
    of_logits = True
    is_divergence = True
    tasks = (*CLASSIFICATION, "text-generation")
    problems = ("single_label", "multi_label", "regression", "embedding")
    unit = "squared logits"

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        assert teacher_logits is not None
        return (student_logits - teacher_logits).square().mean(dim=-1)
