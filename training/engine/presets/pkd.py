from training.engine.presets import PRESETS, UNLIKE, Preset


@PRESETS.register
class PatientKD(Preset):
    key = "pkd"
    family = "layers"
    rank = 4
    label = "Patient (PKD)"
    summary = "Soft targets, labels, and the first token of every layer, as unit vectors."
    when = "For BERT-like students that classify from their first token."
    warning = UNLIKE
    paper = "Sun et al.: Patient Knowledge Distillation for BERT, 1908.09355"
    tasks = ("text-classification",)
    losses = (
        {"kind": "soft_targets", "weight": 0.5, "temperature": 5.0},
        {"kind": "hard_labels", "weight": 0.5, "label_smoothing": 0.0},
        {
            "kind": "hidden_states", "weight": 1.0, "layers": "uniform", "places": "first",
            "measure": "normalised",
        },
    )  # fmt: skip
