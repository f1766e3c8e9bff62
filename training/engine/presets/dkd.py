from training.engine.presets import PRESETS, Preset
from training.engine.registry import CLASSIFICATION


@PRESETS.register
class DecoupledKD(Preset):
    """The paper's settings of CIFAR-100: alpha 1, beta 8, T 4, beside the whole cross-entropy, and
    a warm-up of the term.
    """

    key = "dkd"
    family = "answers"
    rank = 2
    label = "Decoupled (DKD)"
    summary = (
        "How sure the teacher is, and what it thinks of the other classes, each with a weight."
    )
    when = (
        "When the teacher is nearly always sure, so that soft targets hardly say more than labels."
    )
    paper = "Zhao et al.: Decoupled Knowledge Distillation, 2203.08679"
    tasks = CLASSIFICATION
    losses = (
        {
            "kind": "dkd", "weight": 1.0, "target_weight": 1.0, "other_weight": 8.0,
            "temperature": 4.0, "weight_schedule": "warmup",
        },
        {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
    )  # fmt: skip
