"""How sharp a picture is."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from training.engine.descriptors.descriptor import DESCRIPTORS, Descriptor
from training.engine.descriptors.reading import SIDE, Picture


@DESCRIPTORS.register
class Sharpness(Descriptor):
    key = "sharpness"
    label = "Sharpness"
    summary = (
        "How much neighbouring pixels differ: the standard deviation of a picture's Laplacian. It "
        f"falls where pictures are blurred, and rises with noise. Pictures of more than {SIDE} "
        "pixels a side are looked at in that size."
    )
    formula = "std(up + down + left + right − 4 · pixel)"
    paper = "Pech-Pacheco et al.: Diatom autofocusing in brightfield microscopy, ICPR 2000"
    reads = "image"
    unit = "of 1"

    def of(self, rows: Sequence[Picture], tokenizer: Any = None) -> list[float | None]:
        return [_laplacian(one) for one in rows]


def _laplacian(one: Picture) -> float | None:
    grey = one.grey
    if min(grey.shape) < 3:
        return None
    around = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:]
    return float(np.std(around - 4 * grey[1:-1, 1:-1]))
