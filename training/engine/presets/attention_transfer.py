from training.engine.presets import PRESETS, UNLIKE, Preset


@PRESETS.register
class AttentionTransfer(Preset):
    key = "attention_transfer"
    family = "layers"
    rank = 6
    label = "Attention transfer"
    summary = "The student's maps are active where the teacher's are, beside the labels."
    when = "For convnets of one family, such as two ResNets of different depth."
    warning = UNLIKE
    paper = "Zagoruyko, Komodakis: Paying More Attention to Attention, 1612.03928"
    tasks = ("image-classification",)
    losses = (
        {"kind": "attention_maps", "weight": 1000.0, "form": "attention_transfer"},
        {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
    )
