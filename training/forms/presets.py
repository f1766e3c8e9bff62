"""Where a run can begin: recipes as cards. A preset only sets losses; everything stays editable."""

from dataclasses import dataclass
from typing import Any

from training.engine import config


@dataclass(frozen=True, slots=True)
class Preset:
    key: str
    label: str
    icon: str
    summary: str
    hint: str
    losses: tuple[dict[str, Any], ...]
    needs_teacher: bool


PRESETS = [
    Preset(
        key="fine_tune",
        label="Fine-tune",
        icon="adjustments",
        summary="Train one model on the given labels, without a teacher.",
        hint="Makes a teacher, or a student's baseline.",
        losses=tuple(config.FINE_TUNE),
        needs_teacher=False,
    ),
    Preset(
        key="soft_targets",
        label="Distil with soft targets",
        icon="droplet",
        summary="The student learns the teacher's softened probabilities, and a little of the labels.",
        hint="Hinton's recipe, and the best first try.",
        losses=tuple(config.DISTIL),
        needs_teacher=True,
    ),
    Preset(
        key="logit_regression",
        label="Logit regression",
        icon="math-function",
        summary="The student copies the teacher's logits. Labels are not used at all.",
        hint="For many rows without labels.",
        losses=({"kind": "logit_mse", "weight": 1.0},),
        needs_teacher=True,
    ),
    Preset(
        key="custom",
        label="Custom",
        icon="puzzle",
        summary="Any mix of losses with weights of your own.",
        hint="Begins with the losses below as they are.",
        losses=(),
        needs_teacher=False,
    ),
]
BY_KEY = {preset.key: preset for preset in PRESETS}


def matching(losses: list[dict[str, Any]]) -> str:
    """The preset whose kinds of losses these are, whatever their weights; else custom."""
    kinds = {loss.get("kind") for loss in losses}
    for preset in PRESETS:
        if preset.losses and {loss["kind"] for loss in preset.losses} == kinds:
            return preset.key
    return "custom"
