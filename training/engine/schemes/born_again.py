from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from training.engine import terms
from training.engine.options import option
from training.engine.schemes import SCHEMES, Plan, Scheme


@dataclass(frozen=True, slots=True)
class Options:
    generations: int = option(
        2, minimum=1, maximum=10, help="How often it is born again, after the first training."
    )


@SCHEMES.register
class BornAgain(Scheme):
    """The first generation learns from the labels alone; each later one begins from new weights
    and learns from the one before. The best on validation rows is kept."""

    key = "born_again"
    label = "Born again"
    summary = "The same network, trained again and again, each time taught by its last self."
    formula = "gₙ = argmin total(s, t = gₙ₋₁)"
    paper = "Furlanello et al.: Born-Again Neural Networks, 1805.04770, section 3"
    brings_teacher = True
    takes_teachers = False
    Options: ClassVar[type] = Options

    def plan(
        self, losses: Sequence[terms.Loss], stages: Sequence[terms.Stage], epochs: int
    ) -> list[Plan]:
        hard = next((one for one in losses if one.kind == "hard_labels"), None)
        first = terms.Loss(kind="hard_labels", weight=1.0, options=hard.options if hard else {})
        return [Plan("generation 0", (first,), teacher="none")] + [
            Plan(f"generation {number}", tuple(losses), fresh=True, teacher="previous")
            for number in range(1, self.options.generations + 1)
        ]
