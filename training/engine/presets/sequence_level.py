from typing import ClassVar

from training.engine.options import JSON
from training.engine.presets import PRESETS, Preset


@PRESETS.register
class SequenceLevel(Preset):
    key = "sequence_level"
    family = "writing"
    rank = 2
    label = "The teacher's own words"
    summary = "The teacher answers every prompt, and the student learns those answers as if given."
    when = "For a teacher whose probabilities are out of reach, or who reads another vocabulary."
    warning = "What the teacher gets wrong is learned as if right."
    paper = "Kim, Rush: Sequence-Level Knowledge Distillation, 1606.07947"
    tasks = ("text-generation",)
    scheme: ClassVar[str | JSON] = {"kind": "sequence_level", "samples": 1}
    losses = ({"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},)
