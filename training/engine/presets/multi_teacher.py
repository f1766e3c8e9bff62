from typing import ClassVar

from training.engine.options import JSON
from training.engine.presets import PRESETS, Preset


@PRESETS.register
class MultiTeacher(Preset):
    key = "multi_teacher"
    family = "answers"
    rank = 1
    label = "Several teachers"
    summary = "Teachers speak together, and on each row the surer one counts more."
    when = "With two or more teachers that are good at different rows."
    paper = "Kwon et al.: Adaptive Knowledge Distillation Based on Entropy, ICASSP 2020"
    teachers = 2
    scheme: ClassVar[str | JSON] = {"kind": "offline", "combine": "confidence"}
    losses = (
        {"kind": "soft_targets", "weight": 0.9, "temperature": 2.0},
        {"kind": "hard_labels", "weight": 0.1, "label_smoothing": 0.0},
    )
