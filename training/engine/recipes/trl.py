import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from training.engine import recipes
from training.engine.options import option
from training.engine.recipes import JSON, RECIPES, Recipe, Term

LEAST = 0.05  # temperature


@dataclass(frozen=True, slots=True)
class Settings:
    trainer: str = option(
        "GKDTrainer",
        choices=("GKDTrainer", "DistillationTrainer"),
        help="Both minimise generalized_jsd_loss; the second softens it.",
    )
    beta: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        help="0: KL(teacher ‖ student). 1: KL(student ‖ teacher), the default of "
        "DistillationTrainer.",
    )
    temperature: float = option(
        0.9,
        minimum=LEAST,
        maximum=10.0,
        help="Of the sampling; only DistillationTrainer, with a default of 1, softens with it too.",
    )
    lmbda: float = option(
        0.5,
        minimum=0.0,
        maximum=1.0,
        help="Of GKDTrainer: the share of batches whose answers the student writes.",
    )
    seq_kd: bool = option(False, help="Of GKDTrainer: the teacher writes the other answers.")
    max_new_tokens: int = option(
        128,
        minimum=1,
        maximum=4096,
        help="Of an answer. DistillationTrainer calls it max_completion_length: 512.",
    )


@RECIPES.register
class TRL(Recipe):
    key = "trl"
    label = "TRL"
    summary = "GKDTrainer and DistillationTrainer, for language models."
    formula = "beta · KL(t ‖ m) + (1 − beta) · KL(s ‖ m), m = beta · t + (1 − beta) · s"
    ours = "jsd in its raw form, weight 1; lmbda is the share of the scheme on_policy"
    paper = "trl 1.16.0: GKDTrainer.generalized_jsd_loss, DistillationTrainer"
    traps = (
        "The divergence jumps at the ends of beta: beside 0 and 1 it is nearly nothing, at 0 and 1 "
        "a whole KL divergence. The normalised form of jsd does not.",
        "There is no T²: softened by a temperature of 2, gradients are a quarter of what they are "
        "elsewhere.",
        "lmbda says whose text is learnt from: that is a run's scheme here, on_policy, not a loss.",
        "There is no term for the labels.",
    )
    Options: ClassVar[type] = Settings

    @classmethod
    def to_terms(cls, options: Settings, *, classes: int | None = None) -> list[JSON]:
        softens = options.trainer == "DistillationTrainer"
        if options.seq_kd and not softens:
            recipes.refuse(
                "seq_kd",
                "No scheme of ours compares probabilities on what the teacher wrote: use false, or "
                "the scheme sequence_level with hard labels.",
            )
        return [
            {
                "kind": "jsd",
                "weight": 1.0,
                "beta": options.beta,
                "form": "raw",
                "temperature": options.temperature if softens else 1.0,
            }
        ]

    @classmethod
    def notes(cls, options: Settings) -> list[str]:
        told = []
        if options.trainer == "GKDTrainer":
            told.append("GKDTrainer samples with its temperature; its loss is at 1.")
        if 0 < options.beta < 1:
            share = options.beta * (1 - options.beta)
            told.append(
                f"In our normalised form, at a temperature of 1, the weight is {share:.4g}: "
                "beta · (1 − beta)."
            )
        return [*told, *cls.traps]

    @classmethod
    def from_terms(
        cls, losses: Sequence[Mapping[str, Any]], *, classes: int | None = None
    ) -> Settings:
        heard = recipes.hear(losses, cls.label, ("jsd", "soft_targets", "reverse_kl"))
        terms = list(heard.values())
        if len(terms) > 1:
            terms[1].refuse("kind", "It has a single term: leave out the others.")
        [term] = terms
        beta, scale = _read(term)
        if abs(term.weight * scale - 1) > recipes.EXACT:
            term.refuse(
                "weight",
                f"It has no weight: its one term weighs what is {1 / scale:.6g} here.",
            )
        temperature = float(term["temperature"])
        if temperature == 1:
            return Settings(beta=beta, lmbda=0.0)
        return Settings("DistillationTrainer", beta, temperature)

    @classmethod
    def scheme(cls, options: Settings) -> JSON:
        share = options.lmbda if options.trainer == "GKDTrainer" else 1.0
        if share == 0:
            return super().scheme(options)
        return {
            "kind": "on_policy",
            "share": share,
            "temperature": options.temperature,
            "max_new_tokens": options.max_new_tokens,
        }

    @classmethod
    def with_scheme(cls, options: Settings, scheme: Mapping[str, Any]) -> Settings:
        softens = options.trainer == "DistillationTrainer"
        if scheme["kind"] == "offline":
            if softens:
                recipes.refuse(
                    "scheme",
                    "Only DistillationTrainer softens, and its student always writes the answers: "
                    "a temperature of 1, or the scheme on_policy with a share of 1.",
                )
            return options
        if scheme["kind"] != "on_policy":
            recipes.refuse("scheme", f"{cls.label} knows the schemes offline and on_policy.")
        share, at = float(scheme["share"]), float(scheme["temperature"])
        if softens and (share, at) != (1.0, options.temperature):
            recipes.refuse(
                "scheme",
                "DistillationTrainer softens as it samples, and its student always writes: here "
                f"that is a share of 1 and a sampling temperature of {options.temperature:g}.",
            )
        if at < LEAST:
            recipes.refuse("scheme.temperature", f"It must be at least {LEAST} there.")
        written: JSON = {"temperature": at, "max_new_tokens": int(scheme["max_new_tokens"])}
        if softens:
            return dataclasses.replace(options, **written)
        return dataclasses.replace(options, lmbda=share, **written)


def _read(term: Term) -> tuple[float, float]:
    """beta, and how many times its divergence the term is."""
    square = float(term["temperature"]) ** 2
    if term.said["kind"] != "jsd":
        return (0.0 if term.said["kind"] == "soft_targets" else 1.0), square
    beta = float(term["beta"])
    if term["form"] == "raw":
        return beta, 1.0
    return beta, square / (beta * (1 - beta) or 1.0)
