from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    alpha: float = option(
        0.9, minimum=0.0, maximum=1.0, help="Share of the teacher; the labels have the rest."
    )
    temperature: float = option(20.0, minimum=0.05, maximum=1000.0, help="Softens both sides.")


@RECIPES.register
class Haitongli(Recipe):
    key = "haitongli"
    label = "knowledge-distillation-pytorch"
    summary = "loss_fn_kd of haitongli's repository, which many later ones copied."
    formula = "alpha · T² · KLDivLoss() + (1 − alpha) · cross_entropy"
    ours = "alpha / classes · soft_targets + (1 − alpha) · hard_labels"
    paper = "haitongli/knowledge-distillation-pytorch, model/net.py: loss_fn_kd"
    traps = (
        "alpha weighs the teacher, not the labels.",
        "KLDivLoss() is a mean over rows and classes, so the teacher weighs as many times less as "
        "there are classes: with 100 classes, alpha 0.9 is 0.009.",
    )
    counts_classes = True
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        return recipes.total(
            recipes.soft_targets(options.alpha / recipes.counted(classes), options.temperature),
            recipes.hard_labels(1 - options.alpha),
        )

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        per = float(recipes.counted(classes))
        share, soft = recipes.split(losses, cls.label, "alpha and 1 − alpha", per=per)
        alpha = recipes.neat(1 - share)
        return Settings(alpha, soft["temperature"]) if soft else Settings(alpha)
