from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe

#: Its criteria, and our terms for what they compare.
KINDS = {"KDLoss": "soft_targets", "LogitStdKDLoss": "standardised_logits"}


@dataclass(frozen=True, slots=True)
class Settings:
    criterion: str = option(
        "KDLoss",
        choices=tuple(KINDS),
        help="LogitStdKDLoss standardises the logits of each row first.",
    )
    temperature: float = option(
        1.0,
        minimum=0.05,
        maximum=1000.0,
        help="Softens both sides. It has no default there; the shipped ImageNet recipes pass 1.",
    )
    alpha: float = option(
        0.5,
        minimum=0.0,
        maximum=1e6,
        help="Weight of the labels' cross-entropy. The class's own default of None fails unless "
        "beta is given; the shipped recipes pass 0.5.",
    )
    beta: float | None = option(
        None, minimum=0.0, maximum=1e6, help="Weight of the teacher; empty for 1 − alpha."
    )
    reduction: str = option(
        "batchmean",
        choices=("batchmean", "mean", "sum"),
        help="Of KLDivLoss; mean divides by the classes too.",
    )
    label_smoothing: float = option(
        0.0, minimum=0.0, maximum=0.5, help="Handed on to CrossEntropyLoss."
    )
    weight: float = option(
        1.0, minimum=0.0, maximum=1e6, help="Of the criterion, in sub_terms of WeightedSumLoss."
    )


@RECIPES.register
class Torchdistill(Recipe):
    key = "torchdistill"
    label = "torchdistill"
    summary = "KDLoss or LogitStdKDLoss inside WeightedSumLoss."
    formula = "weight · (alpha · CrossEntropyLoss + beta · temperature² · KLDivLoss)"
    ours = "weight · alpha · hard_labels + weight · beta · soft_targets (or standardised_logits)"
    paper = "torchdistill 1.1.5, torchdistill/losses: mid_level.py, high_level.py"
    traps = (
        "alpha weighs the labels, not the teacher.",
        "At alpha 0 the loss jumps: it is the bare KL divergence, without beta and "
        "without temperature². At a temperature of 4 that is a sixteenth of what alpha 1e-6 gives.",
        "With reduction mean the teacher weighs as many times less as there are classes.",
        "Its other criteria are other terms here: dist, attention_maps, relational, contrastive.",
    )
    counts_classes = True
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        if options.reduction == "sum":
            recipes.refuse(
                "reduction",
                "A sum over rows grows with the batch, and our terms are means: use batchmean, and "
                "multiply the learning rate by the batch size.",
            )
        per = recipes.counted(classes) if options.reduction == "mean" else 1
        temperature, kind = options.temperature, KINDS[options.criterion]
        if options.alpha == 0:  # its own shortcut, which forgets beta and the temperature
            bare = options.weight / per / temperature**2
            return recipes.total({"kind": kind, "weight": bare, "temperature": temperature})
        beta = 1 - options.alpha if options.beta is None else options.beta
        if beta < 0:
            recipes.refuse("beta", "Empty, it is 1 − alpha, and that is below 0: give it a number.")
        return recipes.total(
            {"kind": kind, "weight": options.weight * beta / per, "temperature": temperature},
            recipes.hard_labels(
                options.weight * options.alpha, label_smoothing=options.label_smoothing
            ),
        )

    @classmethod
    def notes(cls, options: Settings) -> list[str]:
        told = []
        if options.alpha == 0:
            told.append(
                "At alpha 0 it forgets beta and temperature²: the teacher's term weighs "
                f"{options.weight / options.temperature**2:.4g} here."
            )
        return [*told, *cls.traps]

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        heard = recipes.hear(losses, cls.label, (*KINDS.values(), "hard_labels"))
        if len(heard.keys() & KINDS.values()) > 1:
            heard["standardised_logits"].refuse("kind", "A criterion is one of both, not a mix.")
        hard = heard.get("hard_labels")
        criterion = "LogitStdKDLoss" if "standardised_logits" in heard else "KDLoss"
        soft = heard.get(KINDS[criterion])
        temperature = float(soft["temperature"]) if soft else Settings().temperature
        if hard is None:
            assert soft is not None
            weight = recipes.neat(soft.weight * temperature**2)
            return Settings(criterion=criterion, temperature=temperature, alpha=0.0, weight=weight)
        beta = soft.weight if soft else 0.0
        splits = abs(hard.weight + beta - 1) <= recipes.EXACT
        return Settings(
            criterion=criterion,
            temperature=temperature,
            alpha=recipes.neat(hard.weight),
            beta=None if splits else recipes.neat(beta),
            label_smoothing=hard["label_smoothing"],
        )
