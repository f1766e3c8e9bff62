from training.engine.presets import PRESETS, ROWS, Preset


@PRESETS.register
class CRD(Preset):
    key = "crd"
    family = "rows"
    rank = 4
    label = "Contrastive (CRD)"
    summary = "From the student's vector one can tell which row the teacher saw."
    when = "Between any two architectures, with many classes and large steps or a bank."
    paper = "Tian et al.: Contrastive Representation Distillation, 1910.10699"
    tasks = ROWS
    losses = (
        {"kind": "contrastive", "weight": 0.8, "temperature": 0.07},
        {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
    )
