from training.engine.presets import PRESETS, Preset


@PRESETS.register
class FineTune(Preset):
    key = "fine_tune"
    family = "begin"
    rank = 1
    label = "Fine-tune"
    summary = "Train on the given labels, without a teacher."
    when = "To make a teacher, and to know what the labels alone are worth."
    losses = ({"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},)
