"""Terms of the total: `total = sum of weight * term`, one file a term.

A term answers one number per row; the loop divides the sum over a whole optimizer step, all its
micro-batches together, by the number of rows the term speaks about. So accumulation changes no
gradient, and rows without a label count only for terms that need none.
"""

from typing import Any

from torch import Tensor

from training.engine.registry import Method, Registry


class Loss(Method):
    """One term. `options` is an instance of the class's own Options."""

    is_divergence = False  # 0 exactly where student and teacher agree, in every option's range

    def __init__(self, options: Any) -> None:
        self.options = options

    def per_row(
        self, student_logits: Tensor, teacher_logits: Tensor | None, labels: Tensor
    ) -> Tensor:
        """One value per row, 0 where it does not speak.

        student_logits, teacher_logits: `[batch, classes]`, float32 (the loop casts). labels:
        `[batch]`, int64, -1 where a row has none. The teacher's logits carry no gradient.
        """
        raise NotImplementedError

    def speaks(self, labels: Tensor) -> Tensor:
        """`[batch]` of bool: the rows this term counts."""
        return labels >= 0 if self.needs_labels else labels >= -1


LOSSES: Registry[type[Loss]] = Registry("loss", "training.engine.losses")
