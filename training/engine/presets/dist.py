from training.engine.presets import PRESETS, Preset
from training.engine.registry import CLASSIFICATION


@PRESETS.register
class DIST(Preset):
    key = "dist"
    family = "answers"
    rank = 3
    label = "DIST"
    summary = "The order of the teacher's answers matters, not their size: correlations, not KL."
    when = "When the teacher is much larger than the student, or trained with strong augmentation."
    paper = "Huang et al.: Knowledge Distillation from A Stronger Teacher, 2205.10536"
    tasks = CLASSIFICATION
    losses = (
        {"kind": "dist", "weight": 2.0, "between_weight": 1.0, "within_weight": 1.0},
        {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
    )
