from training.engine.presets import PRESETS, Preset
from training.engine.registry import CLASSIFICATION


@PRESETS.register
class StandardisedLogits(Preset):
    key = "standardised_logits"
    family = "answers"
    rank = 4
    label = "Standardised logits"
    summary = "Soft targets of logits that all have mean 0 and deviation 1."
    when = "When a small student cannot reach the size of its teacher's logits."
    paper = "Sun et al.: Logit Standardization in Knowledge Distillation, 2403.01427"
    tasks = CLASSIFICATION
    losses = (
        {"kind": "standardised_logits", "weight": 9.0, "temperature": 2.0},
        {"kind": "hard_labels", "weight": 0.5, "label_smoothing": 0.0},
    )
