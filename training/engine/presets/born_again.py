from typing import ClassVar

from training.engine.options import JSON
from training.engine.presets import PRESETS, Preset


@PRESETS.register
class BornAgain(Preset):
    key = "born_again"
    family = "self"
    rank = 2
    label = "Born again"
    summary = "The same network, trained anew and taught by its last self."
    when = "To make a better teacher of the size that you have."
    paper = "Furlanello et al.: Born-Again Neural Networks, 1805.04770"
    scheme: ClassVar[str | JSON] = {"kind": "born_again", "generations": 2}
    losses = (
        {"kind": "soft_targets", "weight": 0.5, "temperature": 1.0},
        {"kind": "hard_labels", "weight": 0.5, "label_smoothing": 0.0},
    )
