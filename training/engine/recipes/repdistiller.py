from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe


@dataclass(frozen=True, slots=True)
class Settings:
    distill: str = option(
        "kd", choices=("kd", "rkd", "pkt"), help="Which loss beta weighs; with kd there is none."
    )
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
    beta: float = option(
        0.0,
        minimum=0.0,
        maximum=1e6,
        help="-b: weight of the other loss. It has no default there; its scripts pass 0 for kd, 1 "
        "for rkd and 30000 for pkt.",
    )
    kd_T: float = option(  # noqa: N815 - its own name
        4.0, minimum=0.05, maximum=1000.0, label="kd_T", help="Temperature of the KL divergence."
    )


@RECIPES.register
class RepDistiller(Recipe):
    key = "repdistiller"
    label = "RepDistiller"
    summary = "train_student.py, the benchmark beside the paper on CRD."
    formula = "gamma · CrossEntropyLoss + alpha · kd_T² · KL + beta · loss_kd"
    ours = "gamma · hard_labels + alpha · soft_targets + beta · relational"
    paper = "HobbitLong/RepDistiller, helper/loops.py and distiller_zoo"
    traps = (
        "alpha weighs the teacher, gamma the labels, and they need not come to 1.",
        "Its rkd weighs distances 25 and angles 50, so a beta of 1 is a weight of 25 here.",
        "similarity compares maps before they are pooled, and hint, attention and crd name layers "
        "of its own networks: add similar terms by hand (relational, hidden_states, "
        "attention_maps, contrastive).",
    )
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        return recipes.total(
            recipes.soft_targets(options.alpha, options.kd_T),
            recipes.hard_labels(options.gamma),
            _relational(options),
        )

    @classmethod
    def notes(cls, options: Settings) -> list[str]:
        told = []
        if options.distill == "kd" and options.beta:
            told.append("With kd there is no other loss, so beta has no effect.")
        return [*told, *cls.traps]

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        heard = recipes.hear(losses, cls.label, ("soft_targets", "hard_labels", "relational"))
        gamma = recipes.unsmoothed(heard.get("hard_labels"), cls.label)
        soft, relational = heard.get("soft_targets"), heard.get("relational")
        beta = 0.0
        if relational is not None:
            beta = relational.weight / RKD if relational["form"] == "rkd" else relational.weight
            if relational["form"] == "similarity_preserving":
                relational.refuse("form", "Its similarity compares maps before they are pooled.")
            if relational["form"] == "rkd":
                if relational["angle_weight"] != 2 * relational["distance_weight"]:
                    relational.refuse("angle_weight", "Its rkd weighs angles twice as distances.")
                beta *= relational["distance_weight"]
        return Settings(
            distill=relational["form"] if relational else "kd",
            gamma=recipes.neat(gamma),
            alpha=recipes.neat(soft.weight) if soft else 0.0,
            beta=recipes.neat(beta),
            kd_T=soft["temperature"] if soft else Settings().kd_T,
        )


RKD = 25.0  # its weight of distances


def _relational(options: Settings) -> JSON:
    weights = {"kd": 0.0, "rkd": RKD * options.beta, "pkt": options.beta}
    return {
        "kind": "relational",
        "weight": weights[options.distill],
        "form": "pkt" if options.distill == "pkt" else "rkd",
        "distance_weight": 1.0,
        "angle_weight": 2.0,
        "row_norm": "euclidean",
    }
