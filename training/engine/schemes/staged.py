from collections.abc import Sequence

from training.engine import terms
from training.engine.schemes import SCHEMES, Plan
from training.engine.schemes.offline import Offline


@SCHEMES.register
class Staged(Offline):
    """A stage goes on from the best weights of the one before, with its own terms, epochs, rate
    and schedule."""

    key = "staged"
    label = "Staged"
    summary = "Stages one after the other, such as layers first and predictions second."
    formula = "θ₀ → argmin total₁ → argmin total₂ → …"
    paper = "Jiao et al.: TinyBERT, 1909.10351, section 3.2; Romero et al.: FitNets, 1412.6550"

    def plan(
        self, losses: Sequence[terms.Loss], stages: Sequence[terms.Stage], epochs: int
    ) -> list[Plan]:
        return [Plan(one.name, one.losses, one.epochs, one.learning_rate) for one in stages]
