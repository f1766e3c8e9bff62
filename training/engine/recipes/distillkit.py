from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    """Its list of `loss_functions`, flat: a weight and a temperature of each function."""

    cross_entropy_weight: float = option(
        0.5, minimum=0.0, maximum=1e6, help="Of function: cross_entropy."
    )
    kl_weight: float = option(0.5, minimum=0.0, maximum=1e6, help="Of function: kl.")
    kl_temperature: float = option(1.0, minimum=0.05, maximum=1000.0, help="Of kl.")
    jsd_weight: float = option(0.0, minimum=0.0, maximum=1e6, help="Of function: jsd.")
    jsd_temperature: float = option(1.0, minimum=0.05, maximum=1000.0, help="Of jsd.")
    tvd_weight: float = option(0.0, minimum=0.0, maximum=1e6, help="Of function: tvd.")
    tvd_temperature: float = option(1.0, minimum=0.05, maximum=1000.0, help="Of tvd.")


@RECIPES.register
class DistillKit(Recipe):
    key = "distillkit"
    label = "DistillKit"
    summary = "The loss_functions of a DistillKit configuration, for language models."
    formula = "Σ weight · function / Σ weight; kl, jsd and tvd with temperature²"
    ours = "weights divided by their sum; kl: soft_targets, jsd: jsd, tvd: tvd"
    paper = "arcee-ai/DistillKit: distillkit/trainer.py, distillkit/lossfuncs"
    traps = (
        "Weights are divided by their sum: 1 and 1 is 0.5 and 0.5.",
        "Its earlier script distil_logits.py is another recipe: alpha weighs the teacher, and the "
        "teacher's term is divided by max_length, padding included.",
        "kl, jsd and tvd are masked by the labels as they stand, not shifted: where prompts are "
        "masked they count one place later than cross_entropy does.",
        "With sparse teachers, missing_probability_handling zero takes the kept tokens for all; "
        "our stored outputs keep the mass of the rest.",
        "hs_mse and hs_cosine are hidden_states here; we have no hinge and no logistic_ranking.",
    )
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        if options.tvd_weight and options.tvd_temperature != 1:
            recipes.refuse("tvd_temperature", "Our tvd is not softened: it must be 1.")
        weights = (
            options.cross_entropy_weight, options.kl_weight, options.jsd_weight, options.tvd_weight,
        )  # fmt: skip
        hard, kl, jsd, tvd = (weight / (sum(weights) or 1.0) for weight in weights)
        return recipes.total(
            recipes.soft_targets(kl, options.kl_temperature),
            {
                "kind": "jsd",
                "weight": jsd / 4,  # normalised, ours is divided by β(1 − β)
                "beta": 0.5,
                "form": "normalised",
                "temperature": options.jsd_temperature,
            },
            {"kind": "tvd", "weight": tvd},
            recipes.hard_labels(hard),
        )

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        heard = recipes.hear(losses, cls.label, ("soft_targets", "jsd", "tvd", "hard_labels"))
        hard, soft = (
            recipes.unsmoothed(heard.get("hard_labels"), cls.label),
            heard.get("soft_targets"),
        )
        jsd, tvd = heard.get("jsd"), heard.get("tvd")
        half = 0.0
        if jsd is not None:
            if jsd["beta"] != 0.5:
                jsd.refuse("beta", f"The jsd of {cls.label} has a beta of 0.5.")
            square = float(jsd["temperature"]) ** 2
            half = jsd.weight * 4 if jsd["form"] == "normalised" else jsd.weight / square
        found = hard + half + sum(term.weight for term in (soft, tvd) if term)
        if abs(found - 1) > recipes.EXACT:
            recipes.refuse(
                "losses",
                f"It divides by the sum of its weights, and these come to {found:.6g}: divide them "
                "by it, and with SGD multiply the learning rate by it.",
            )
        return Settings(
            cross_entropy_weight=recipes.neat(hard),
            kl_weight=recipes.neat(soft.weight) if soft else 0.0,
            kl_temperature=soft["temperature"] if soft else 1.0,
            jsd_weight=recipes.neat(half),
            jsd_temperature=jsd["temperature"] if jsd else 1.0,
            tvd_weight=recipes.neat(tvd.weight) if tvd else 0.0,
        )
