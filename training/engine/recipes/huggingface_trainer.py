from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    alpha: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        help="Share of the labels' cross-entropy; the teacher has the rest.",
    )
    temperature: float = option(2.0, minimum=0.05, maximum=1000.0, help="Softens both sides.")


@RECIPES.register
class HuggingFaceTrainer(Recipe):
    """`DistillationTrainer` of Philipp Schmid's tutorial, as it is in many notebooks; the image
    tutorial of transformers' documentation calls alpha `lambda_param` (0.5, temperature 5)."""

    key = "huggingface_trainer"
    label = "Hugging Face Trainer"
    summary = "The DistillationTrainer of tutorials: a Trainer with compute_loss overridden."
    formula = "alpha · outputs.loss + (1 − alpha) · temperature² · KLDivLoss(batchmean)"
    ours = "alpha · hard_labels + (1 − alpha) · soft_targets"
    paper = "philschmid/knowledge-distillation-transformers-pytorch-sagemaker, scripts/train.py"
    traps = (
        "alpha weighs the labels, not the teacher: 0.9 is mostly labels.",
        "The training arguments' label_smoothing_factor has no effect, because compute_loss is "
        "overridden.",
    )
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        return recipes.total(
            recipes.soft_targets(1 - options.alpha, options.temperature),
            recipes.hard_labels(options.alpha),
        )

    @classmethod
    def notes(cls, options: Settings) -> list[str]:
        share = f"With alpha {options.alpha:g} the teacher has {recipes.percent(1 - options.alpha)}"
        return [f"{share} of the weight.", *cls.traps]

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        alpha, soft = recipes.split(losses, cls.label, "alpha and 1 − alpha")
        return Settings(alpha, soft["temperature"]) if soft else Settings(alpha)
