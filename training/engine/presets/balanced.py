from training.engine.presets import PRESETS, Preset


@PRESETS.register
class Balanced(Preset):
    key = "balanced"
    family = "begin"
    rank = 4
    label = "Teacher and labels"
    summary = "Half and half, at a low temperature."
    when = "For a teacher that is often wrong, with labels that can be trusted."
    losses = (
        {"kind": "soft_targets", "weight": 0.5, "temperature": 2.0},
        {"kind": "hard_labels", "weight": 0.5, "label_smoothing": 0.0},
    )
