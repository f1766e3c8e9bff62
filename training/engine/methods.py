"""The catalog: everything the engine offers, from its registries, as plain JSON."""

from typing import Any

from training.engine import options
from training.engine.compressors import COMPRESSORS
from training.engine.config import Training
from training.engine.exporters import EXPORTERS
from training.engine.losses import LOSSES
from training.engine.optimization import OPTIMIZERS, SCHEDULES
from training.engine.recipes import RECIPES
from training.engine.schemes import SCHEMES
from training.engine.students import ARCHITECTURES
from training.engine.tasks import TASKS

# Where to start, not the term's default of 4: with a few thousand steps, students of banking77,
# Fashion-MNIST and the digits were 0.0 to 1.4 points better at 2 than at 4 (docs/decisions).
PRESETS: list[dict[str, Any]] = [
    {
        "key": "fine_tune",
        "label": "Fine-tune",
        "summary": "Train on the given labels, without a teacher. Makes teachers, and baselines.",
        "needs_teacher": False,
        "losses": [{"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0}],
    },
    {
        "key": "soft_targets",
        "label": "Soft targets",
        "summary": "Mostly the teacher's softened probabilities, a little of the labels. "
        "The place to start.",
        "needs_teacher": True,
        "losses": [
            {"kind": "soft_targets", "weight": 0.9, "temperature": 2.0},
            {"kind": "hard_labels", "weight": 0.1, "label_smoothing": 0.0},
        ],
    },
    {
        "key": "soft_targets_only",
        "label": "Soft targets, few labels",
        "summary": "Only the teacher speaks, so rows without a label teach as much as the others.",
        "needs_teacher": True,
        "losses": [{"kind": "soft_targets", "weight": 1.0, "temperature": 2.0}],
    },
    {
        "key": "balanced",
        "label": "Teacher and labels",
        "summary": "Half and half, at a low temperature: for a teacher that is often wrong.",
        "needs_teacher": True,
        "losses": [
            {"kind": "soft_targets", "weight": 0.5, "temperature": 2.0},
            {"kind": "hard_labels", "weight": 0.5, "label_smoothing": 0.0},
        ],
    },
    {
        "key": "logit_regression",
        "label": "Logit regression",
        "summary": "The student's logits approach the teacher's. Wants many rows, labelled or not.",
        "needs_teacher": True,
        "losses": [{"kind": "logit_mse", "weight": 1.0}],
    },
]


def describe() -> dict[str, Any]:
    """Kinds of methods, each a list in the order of the keys; `training`, the options of every
    run; and presets of losses."""
    return {
        "format": 1,
        "losses": [one.described() for one in LOSSES],
        "schemes": [one.described() for one in SCHEMES],
        "tasks": [one.described() for one in TASKS],
        "architectures": [one.described() for one in ARCHITECTURES],
        "optimizers": [OPTIMIZERS[key].described() for key in sorted(OPTIMIZERS)],
        "schedules": [SCHEDULES[key].described() for key in sorted(SCHEDULES)],
        "exporters": [one.described() for one in EXPORTERS],
        "compressors": [one.described() for one in COMPRESSORS],
        "training": _training(),
        "presets": PRESETS,
        "recipes": [one.described() for one in RECIPES],
    }


def _training() -> list[dict[str, Any]]:
    described = options.describe(Training)
    judged = {f"val/{name}" for task in TASKS for names in task.metrics.values() for name in names}
    choices = {
        "optimizer": sorted(OPTIMIZERS),
        "schedule": sorted(SCHEDULES),
        "selection_metric": ["auto", *sorted(judged | {"val/loss", "val/agreement", "val/kl"})],
    }
    for one in described:
        if one["name"] in choices:
            one |= {"type": "choice", "choices": choices[one["name"]]}
    return described
