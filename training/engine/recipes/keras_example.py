from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    alpha: float = option(
        0.1,
        minimum=0.0,
        maximum=1.0,
        help="Weight of student_loss_fn; distillation_loss_fn has 1 − alpha.",
    )
    temperature: float = option(
        3.0,
        minimum=0.05,
        maximum=1000.0,
        help="Softens both sides. The default of compile; the example itself passes 10.",
    )


@RECIPES.register
class KerasExample(Recipe):
    """The class `Distiller` that the example writes, with the loss functions that it passes:
    SparseCategoricalCrossentropy(from_logits=True) and KLDivergence()."""

    key = "keras_example"
    label = "Keras example"
    summary = "The Distiller of keras.io's example on knowledge distillation."
    formula = "alpha · student_loss_fn + (1 − alpha) · temperature² · distillation_loss_fn"
    ours = "alpha · hard_labels + (1 − alpha) · soft_targets"
    paper = "keras-team/keras-io, examples/vision/knowledge_distillation.py (for Keras 3)"
    traps = (
        "alpha weighs the labels, not the teacher: the default of 0.1 is mostly teacher.",
        "The example's first version, in many copies, lacks temperature²: its teacher weighs "
        "temperature² times less.",
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
