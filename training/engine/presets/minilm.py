from training.engine.presets import PRESETS, UNLIKE, Preset


@PRESETS.register
class MiniLM(Preset):
    """Relations of queries, keys and values need not have as many heads on both sides: all heads
    are cut into 8, which divides the usual widths (128, 256, 312, 384, 512, 768).
    """

    key = "minilm"
    family = "layers"
    rank = 3
    label = "MiniLM"
    summary = "First only how words of the last layer relate, then the predictions."
    when = (
        "For transformers of the same tokens whose widths and layers differ: nothing is projected."
    )
    warning = UNLIKE
    paper = "Wang et al.: MiniLM, 2002.10957; and MiniLMv2, 2012.15828"
    tasks = ("text-classification",)
    scheme = "staged"
    stages = (
        {
            "name": "relations",
            "losses": [
                {"kind": "attention_maps", "weight": 1.0, "form": "minilm_v2", "relation_heads": 8}
            ],
        },
        {
            "name": "predictions",
            "losses": [
                {"kind": "soft_targets", "weight": 0.9, "temperature": 2.0},
                {"kind": "hard_labels", "weight": 0.1, "label_smoothing": 0.0},
            ],
        },
    )
