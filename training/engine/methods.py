"""The catalog: everything the engine offers, from its registries, as plain JSON."""

from typing import Any

from training.engine import options, presets
from training.engine.compressors import COMPRESSORS
from training.engine.config import Training
from training.engine.derivations import DERIVATIONS
from training.engine.descriptors import DESCRIPTORS
from training.engine.detectors import DETECTORS
from training.engine.exporters import EXPORTERS
from training.engine.losses import LOSSES
from training.engine.optimization import OPTIMIZERS, SCHEDULES
from training.engine.recipes import RECIPES
from training.engine.schemes import SCHEMES
from training.engine.students import ARCHITECTURES
from training.engine.tasks import TASKS


def describe() -> dict[str, Any]:
    """Kinds of methods, each a list in the order of the keys; `training`, the options of every
    run; and presets to begin from."""
    catalog: dict[str, Any] = {
        "format": 1,
        "losses": [one.described() for one in LOSSES],
        "schemes": [one.described() for one in SCHEMES],
        "tasks": [one.described() for one in TASKS],
        "architectures": [one.described() for one in ARCHITECTURES],
        "derivations": [one.described() for one in DERIVATIONS],
        "optimizers": [OPTIMIZERS[key].described() for key in sorted(OPTIMIZERS)],
        "schedules": [SCHEDULES[key].described() for key in sorted(SCHEDULES)],
        "exporters": [one.described() for one in EXPORTERS],
        "compressors": [one.described() for one in COMPRESSORS],
        "detectors": [one.described() for one in DETECTORS],
        "descriptors": [one.described() for one in DESCRIPTORS],
        "training": _training(),
        "recipes": [one.described() for one in RECIPES],
    }
    return catalog | {"presets": presets.described(catalog)}


def _training() -> list[dict[str, Any]]:
    described = options.describe(Training)
    judged = {f"val/{name}" for task in TASKS for names in task.metrics.values() for name in names}
    judged |= {f"val/{name}" for one in SCHEMES for name in one.metrics}
    choices = {
        "optimizer": sorted(OPTIMIZERS),
        "schedule": sorted(SCHEDULES),
        "selection_metric": ["auto", *sorted(judged | {"val/loss", "val/agreement", "val/kl"})],
    }
    for one in described:
        if one["name"] in choices:
            one |= {"type": "choice", "choices": choices[one["name"]]}
    return described
