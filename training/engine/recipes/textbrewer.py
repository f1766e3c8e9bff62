from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe, Term

SCHEDULERS = ("none", "linear_decay", "linear_growth")


@dataclass(frozen=True, slots=True)
class Settings:
    temperature: float = option(4.0, minimum=0.05, maximum=1000.0, help="Softens both sides.")
    kd_loss_type: str = option(
        "ce", choices=("ce", "mse"), help="Cross-entropy with the soft targets, or logits' MSE."
    )
    kd_loss_weight: float = option(1.0, minimum=0.0, maximum=1e6, help="Of the teacher's term.")
    hard_label_weight: float = option(
        0.0, minimum=0.0, maximum=1e6, help="Of the losses that the student's adaptor returns."
    )
    kd_loss_weight_scheduler: str = option(
        "none", choices=SCHEDULERS, help="Replaces kd_loss_weight after the first step."
    )
    hard_label_weight_scheduler: str = option(
        "none", choices=SCHEDULERS, help="Replaces hard_label_weight after the first step."
    )
    temperature_scheduler: str = option(
        "none", choices=("none", "constant", "flsw", "cwsm"), help="A temperature for each row."
    )
    probability_shift: bool = option(
        False, help="Exchanges the teacher's largest logit with that of the label."
    )


@RECIPES.register
class TextBrewer(Recipe):
    """Its adaptors are taken to return the model's own mean cross-entropy as `losses`."""

    key = "textbrewer"
    label = "TextBrewer"
    summary = "DistillationConfig of the basic and the general distiller."
    formula = "kd_loss_weight · CE(softmax(t/T), softmax(s/T)) + hard_label_weight · losses"
    ours = "kd_loss_weight / T² · soft_targets + hard_label_weight · hard_labels"
    paper = "textbrewer 0.2.1, losses.py, distiller_basic.py, configurations.py"
    traps = (
        "There is no T²: at a temperature of 4 the teacher weighs a sixteenth of what it does "
        "elsewhere, and another temperature changes the balance with the labels.",
        "The loss ce is a cross-entropy: gradients are the KL divergence's, values are higher by "
        "the softened teacher's entropy and never reach 0.",
        "intermediate_matches are other terms here: hidden_states and attention_maps.",
    )
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        if options.temperature_scheduler in ("flsw", "cwsm"):
            recipes.refuse(
                "temperature_scheduler",
                "A temperature for each row is none of our terms: use none.",
            )
        if options.probability_shift:
            recipes.refuse(
                "probability_shift",
                "A teacher corrected by the label is none of our terms: use false.",
            )
        square = options.temperature**2
        kd, hard = options.kd_loss_weight, options.hard_label_weight
        soft = (
            recipes.soft_targets(0.0, options.temperature)
            if options.kd_loss_type == "ce"
            else {"kind": "logit_mse", "weight": 0.0}
        )
        return recipes.total(
            {**soft, **_timed(kd, options.kd_loss_weight_scheduler, 1 / square)},
            {
                **recipes.hard_labels(0.0),
                **_timed(hard, options.hard_label_weight_scheduler, 1.0),
            },
        )

    @classmethod
    def notes(cls, options: Settings) -> list[str]:
        square = options.temperature**2
        told = [
            f"Without T², kd_loss_weight {options.kd_loss_weight:g} is "
            f"{options.kd_loss_weight / square:.4g} of our term."
        ]
        told += [
            f"The scheduler replaces {name}: after the first step it counts no more."
            for name in ("kd_loss_weight", "hard_label_weight")
            if getattr(options, f"{name}_scheduler") != "none"
        ]
        return [*told, *cls.traps]

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        kinds = ("soft_targets", "logit_mse", "hard_labels")
        heard = recipes.hear(losses, cls.label, kinds, scheduled=kinds)
        if "soft_targets" in heard and "logit_mse" in heard:
            heard["logit_mse"].refuse("kind", "kd_loss_type is either ce or mse, not both.")
        recipes.unsmoothed(heard.get("hard_labels"), cls.label)
        soft = heard.get("soft_targets")
        temperature = float(soft["temperature"]) if soft else 1.0
        kd = _untimed(soft or heard.get("logit_mse"), 1 / temperature**2)
        hard = _untimed(heard.get("hard_labels"), 1.0)
        return Settings(
            temperature=temperature if kd else Settings().temperature,
            kd_loss_type="mse" if "logit_mse" in heard else "ce",
            kd_loss_weight=kd[0] if kd else 0.0,
            hard_label_weight=hard[0] if hard else 0.0,
            kd_loss_weight_scheduler=kd[1] if kd else "none",
            hard_label_weight_scheduler=hard[1] if hard else "none",
        )


def _timed(weight: float, scheduler: str, unit: float) -> JSON:
    """The weight, or how it moves between 0 and 1 of its unit."""
    if scheduler == "linear_decay":
        return {"weight": unit, "weight_schedule": "linear", "final_weight": 0.0}
    if scheduler == "linear_growth":
        return {"weight": 0.0, "weight_schedule": "linear", "final_weight": unit}
    return {"weight": weight * unit}


def _untimed(term: Term | None, unit: float) -> tuple[float, str] | None:
    """Weight and scheduler that say the same; the weight beside a scheduler is its default."""
    if term is None:
        return None
    schedule = term.said.get("weight_schedule", "constant")
    if schedule == "constant":
        return recipes.neat(term.weight / unit), "none"
    ends = (term.weight / unit, (term.said.get("final_weight") or 0.0) / unit)
    for scheduler, wanted in {"linear_decay": (1.0, 0.0), "linear_growth": (0.0, 1.0)}.items():
        near = all(abs(a - b) < recipes.EXACT for a, b in zip(ends, wanted, strict=True))
        if schedule == "linear" and near:
            return 1.0, scheduler
    return term.refuse("weight_schedule", "Its schedulers run from 1 to 0, or from 0 to 1.")
