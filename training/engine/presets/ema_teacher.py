from typing import ClassVar

from training.engine.options import JSON
from training.engine.presets import PRESETS, Preset


@PRESETS.register
class AverageOfItself(Preset):
    """The consistency term is warmed up, as in section 3.1 of the paper."""

    key = "ema_teacher"
    family = "self"
    rank = 3
    label = "Average of itself"
    summary = "The student learns from the running average of its own weights."
    when = "With few labels and no teacher: rows without a label teach, too."
    paper = "Tarvainen, Valpola: Mean teachers are better role models, 1703.01780"
    scheme: ClassVar[str | JSON] = {"kind": "ema_teacher", "decay": 0.99}
    losses = (
        {"kind": "hard_labels", "weight": 1.0, "label_smoothing": 0.0},
        {
            "kind": "soft_targets", "weight": 1.0, "temperature": 1.0,
            "weight_schedule": "warmup",
        },
    )  # fmt: skip
