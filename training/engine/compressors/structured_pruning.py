from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from training.engine import derivations
from training.engine.compressors import COMPRESSORS, Compressed, Compressor, Material, tuning
from training.engine.data import Batch
from training.engine.derivations import DERIVATIONS, Example
from training.engine.errors import ModelError
from training.engine.few_bits import is_rounded
from training.engine.networks import Network
from training.engine.options import option

LOOKED_AT = 512  # training rows by which channels and heads are judged
AT_ONCE = 32


@dataclass(frozen=True)
class Parts:
    parts: str = option(
        "channels",
        choices=("channels", "heads", "width"),
        help="Filters and inner neurons; attention heads; or the width of all layers.",
    )
    share: float = option(
        0.5, minimum=0.01, maximum=0.99, label="Kept share", help="Of the parts of each layer."
    )


@dataclass(frozen=True)
class Options(tuning.Options, Parts):
    """What is taken out, then how the rest is trained."""


METHODS = {"channels": "prune_channels", "heads": "prune_heads", "width": "narrow"}


@COMPRESSORS.register
class StructuredPruning(Compressor):
    key = "structured-pruning"
    label = "Structured pruning"
    summary = (
        "Whole filters, neurons or heads that matter least on training rows are taken out, and the "
        "rest is trained a little: smaller and faster everywhere."
    )
    formula = "importance = mean over rows of |Σ x · ∂L/∂x|"
    paper = (
        "Li et al.: Pruning Filters for Efficient ConvNets, 1608.08710; Molchanov et al. 1611.06440"
    )
    trains = True
    Options: ClassVar[type] = Options

    def compress(self, network: Network, material: Material) -> Compressed:
        if is_rounded(network.module):
            raise ModelError("Its weights are whole numbers already; prune what it was made from.")
        method = METHODS[self.options.parts]
        refused = DERIVATIONS[method].refusal(network.architecture)
        if refused:
            able = [
                parts
                for parts, other in METHODS.items()
                if not DERIVATIONS[other].refusal(network.architecture)
            ]
            instead = f" Prune its {' or '.join(able)} instead." if able else ""
            raise ModelError(refused + instead)
        names = {one["name"] for one in DERIVATIONS[method].described()["options"]}
        values = {"share": self.options.share} if "share" in names else {}
        material.say("Choosing what to take out")
        found = derivations.derive(
            method, values, network, name=network.name, examples=_examples(material)
        )
        told = tuning.tune(found.network, material, self.options)
        return Compressed(found.network, f"{found.said} are left. {told}")


def _examples(material: Material) -> list[Example]:
    rows = material.training
    rows = rows[np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).astype(np.int64)]
    return [
        Example(_inputs(material.inputs.batch(rows[start : start + AT_ONCE])))
        for start in range(0, len(rows), AT_ONCE)
    ]


def _inputs(batch: Batch) -> Batch:
    return {name: value for name, value in batch.items() if name != "targets"}
