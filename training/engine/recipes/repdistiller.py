from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    gamma: float = option(
        1.0, minimum=0.0, maximum=1e6, help="-r: weight of the labels' cross-entropy."
    )
    alpha: float = option(
        0.9,
        minimum=0.0,
        maximum=1e6,
        help="-a: weight of the teacher's KL divergence. It has no default there; its README "
        "passes 0.9, with a gamma of 0.1.",
    )
    kd_T: float = option(  # noqa: N815 - its own name
        4.0, minimum=0.05, maximum=1000.0, label="kd_T", help="Temperature of the KL divergence."
    )


@RECIPES.register
class RepDistiller(Recipe):
    key = "repdistiller"
    label = "RepDistiller"
    summary = "train_student.py with --distill kd, the benchmark beside the paper on CRD."
    formula = "gamma · CrossEntropyLoss + alpha · kd_T² · KL + beta · loss_kd"
    ours = "gamma · hard_labels + alpha · soft_targets"
    paper = "HobbitLong/RepDistiller, helper/loops.py and distiller_zoo/KD.py"
    traps = (
        "alpha weighs the teacher, gamma the labels, and they need not come to 1.",
        "beta weighs another term: with --distill kd that term is 0, with others it is one of "
        "hidden_states, attention_maps, relational or contrastive here.",
    )
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        return recipes.total(
            recipes.soft_targets(options.alpha, options.kd_T),
            recipes.hard_labels(options.gamma),
        )

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        heard = recipes.hear(losses, cls.label, ("soft_targets", "hard_labels"))
        gamma, soft = (
            recipes.unsmoothed(heard.get("hard_labels"), cls.label),
            heard.get("soft_targets"),
        )
        return Settings(gamma, soft.weight, soft["temperature"]) if soft else Settings(gamma, 0.0)
