from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    kd_ratio: float = option(
        0.5, minimum=0.0, maximum=1.0, help="Share of the teacher; the labels have the rest."
    )


@RECIPES.register
class Torchtune(Recipe):
    key = "torchtune"
    label = "torchtune"
    summary = "The recipes knowledge_distillation_*, with ForwardKLLoss."
    formula = "(1 − kd_ratio) · cross-entropy + kd_ratio · ForwardKLLoss"
    ours = "(1 − kd_ratio) · hard_labels + kd_ratio · soft_targets, T = 1"
    paper = "torchtune 0.6.1, torchtune/modules/loss/kd_losses.py: ForwardKLLoss"
    traps = (
        "ForwardKLLoss is a cross-entropy: gradients are the KL divergence's, values are higher by "
        "kd_ratio times the teacher's entropy and never reach 0.",
        "There is no temperature: both sides are at 1.",
        "ReverseKLLoss and SymmetricKLLoss are other terms here: reverse_kl and jsd.",
    )
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        return recipes.total(
            recipes.soft_targets(options.kd_ratio, 1.0),
            recipes.hard_labels(1 - options.kd_ratio),
        )

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        share, soft = recipes.split(losses, cls.label, "kd_ratio and 1 − kd_ratio")
        if soft and soft["temperature"] != 1:
            soft.refuse("temperature", f"{cls.label} has no temperature: it is 1.")
        return Settings(recipes.neat(1 - share))
