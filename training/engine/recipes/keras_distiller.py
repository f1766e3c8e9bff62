from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    student_loss_weight: float = option(
        0.5, minimum=0.0, maximum=1.0, help="Weight of the labels; the teacher has the rest."
    )
    temperature: float = option(
        3.0, minimum=0.05, maximum=1000.0, help="Of LogitsDistillation. Softens both sides."
    )
    distillation_loss_weight: float = option(
        1.0,
        minimum=0.0,
        maximum=1e6,
        help="The one number in distillation_loss_weights, for LogitsDistillation.",
    )
    loss: str = option(
        "KLDivergence()",
        choices=("KLDivergence()", "kl_divergence"),
        help="Of LogitsDistillation. The word kl_divergence is its default, and not the same.",
    )


@RECIPES.register
class KerasDistiller(Recipe):
    key = "keras_distiller"
    label = "keras.distillation"
    summary = "Distiller and LogitsDistillation, as they are part of Keras 3."
    formula = (
        "student_loss_weight · loss + (1 − student_loss_weight) · distillation_loss_weight · "
        "temperature² · KLDivergence"
    )
    ours = (
        "student_loss_weight · hard_labels + (1 − student_loss_weight) · "
        "distillation_loss_weight · soft_targets"
    )
    paper = "keras 3.15.1, keras/src/distillation: Distiller, LogitsDistillation"
    traps = (
        "LogitsDistillation must be given loss=keras.losses.KLDivergence(). Its default, the word "
        '"kl_divergence", is looked up as a plain function, which version 3.15.1 then hands raw '
        "logits instead of probabilities, without temperature².",
        "Keras clips probabilities to 1e-7, so what a teacher says below that is not heard.",
        "FeatureDistillation is hidden_states here, with pairs of layers.",
    )
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        if options.loss == "kl_divergence":
            recipes.refuse(
                "loss",
                "In Keras 3.15.1 the word compares raw logits, which no term of ours does: pass "
                "keras.losses.KLDivergence() there.",
            )
        taught = (1 - options.student_loss_weight) * options.distillation_loss_weight
        return recipes.total(
            recipes.soft_targets(taught, options.temperature),
            recipes.hard_labels(options.student_loss_weight),
        )

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        heard = recipes.hear(losses, cls.label, ("soft_targets", "hard_labels"))
        hard, soft = (
            recipes.unsmoothed(heard.get("hard_labels"), cls.label),
            heard.get("soft_targets"),
        )
        if hard > 1:
            heard["hard_labels"].refuse(
                "weight", "student_loss_weight is at most 1: divide all weights by this one."
            )
        if soft is None:
            if abs(hard - 1) > recipes.EXACT:
                heard["hard_labels"].refuse(
                    "weight", "Alone it must be 1: a weight of the whole is the learning rate."
                )
            return Settings(student_loss_weight=1.0)
        if hard == 1:
            soft.refuse("weight", "Beside labels of weight 1 the teacher has 0: halve all weights.")
        return Settings(
            student_loss_weight=recipes.neat(hard),
            temperature=soft["temperature"],
            distillation_loss_weight=recipes.neat(soft.weight / (1 - hard)),
        )
