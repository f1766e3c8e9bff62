from training.engine.presets import PRESETS, UNLIKE, Preset


@PRESETS.register
class DistilBERT(Preset):
    """The paper's weights of its triple loss: 5 of soft targets at T 2, 2 of the labels, 1 of the
    cosine of the last hidden states.
    """

    key = "distilbert"
    family = "layers"
    rank = 1
    label = "DistilBERT"
    summary = "Soft targets, labels, and last hidden states that point the same way."
    when = "For a student that is its teacher with every second layer left out."
    warning = UNLIKE
    paper = "Sanh et al.: DistilBERT, 1910.01108, section 2"
    tasks = ("text-classification", "token-classification")
    losses = (
        {"kind": "soft_targets", "weight": 5.0, "temperature": 2.0},
        {"kind": "hard_labels", "weight": 2.0, "label_smoothing": 0.0},
        {"kind": "hidden_states", "weight": 1.0, "layers": "last", "measure": "cosine"},
    )
