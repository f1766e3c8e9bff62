"""Who teaches whom, and when: one file a scheme."""

from collections.abc import Sequence

from torch import Tensor

from training.engine.registry import Method, Registry


class Scheme(Method):
    @staticmethod
    def target(logits: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """What the student is held against: `[batch, classes]`, float32, from every teacher's
        logits of the same shape."""
        raise NotImplementedError


SCHEMES: Registry[type[Scheme]] = Registry("scheme", "training.engine.schemes")
