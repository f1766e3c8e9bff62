from training.engine.presets import PRESETS, UNLIKE, Preset


@PRESETS.register
class TinyBERT(Preset):
    """Section 3: layers first, with the sum of the three terms; then the predictions alone, at T
    1.
    """

    key = "tinybert"
    family = "layers"
    rank = 2
    label = "TinyBERT"
    summary = "First every layer becomes its counterpart of the teacher, then the predictions do."
    when = "For transformers of the same tokens, when training may take twice as long."
    warning = UNLIKE
    paper = "Jiao et al.: TinyBERT, 1909.10351, section 3"
    tasks = ("text-classification",)
    scheme = "staged"
    stages = (
        {
            "name": "layers",
            "losses": [
                {"kind": "hidden_states", "weight": 1.0, "layers": "uniform", "measure": "mse"},
                {"kind": "attention_maps", "weight": 1.0, "form": "tinybert", "layers": "uniform"},
                {"kind": "embeddings", "weight": 1.0, "of": "tokens"},
            ],
        },
        {
            "name": "predictions",
            "losses": [{"kind": "soft_targets", "weight": 1.0, "temperature": 1.0}],
        },
    )
