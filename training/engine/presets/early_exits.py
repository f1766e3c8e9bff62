from typing import ClassVar

from training.engine.options import JSON
from training.engine.presets import PRESETS, ROWS, Preset


@PRESETS.register
class EarlyExits(Preset):
    """Equation 3: 0.7 of the labels and 0.3 of the last layer's answer, at T 3, at every exit."""

    key = "early_exits"
    family = "self"
    rank = 4
    label = "Be your own teacher"
    summary = "Inner layers learn from the last one, in one training."
    when = "For deep students without a teacher; costs a little more than training alone."
    paper = "Zhang et al.: Be Your Own Teacher, 1905.08094"
    tasks = ROWS
    scheme: ClassVar[str | JSON] = {"kind": "early_exits", "weight": 0.3}
    losses = (
        {"kind": "hard_labels", "weight": 0.7, "label_smoothing": 0.0},
        {"kind": "soft_targets", "weight": 0.3, "temperature": 3.0},
    )
