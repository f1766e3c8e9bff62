from typing import ClassVar

from training.engine.options import JSON
from training.engine.presets import PRESETS, Preset


@PRESETS.register
class MutualLearning(Preset):
    key = "mutual"
    family = "self"
    rank = 1
    label = "Mutual learning"
    summary = "Two students learn together, each also from what the other says."
    when = "Without a teacher, when training may cost twice as much."
    paper = "Zhang et al.: Deep Mutual Learning, 1706.00384"
    scheme: ClassVar[str | JSON] = {"kind": "mutual", "students": 2}
    losses = (
        {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
        {"kind": "soft_targets", "weight": 1.0, "temperature": 1.0},
    )
